/** The lab's cache: how large it is, and its removal. */
import { existsSync, lstatSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { checkFlags, checkKeys } from "../socket/misuse.ts";
import { defaultCacheFolder } from "./kernels.ts";

/** One file or folder of the cache, and its size on the disk. */
export interface CacheEntry {
  /** Its name in the folder. */
  readonly name: string;
  /** With everything below it. */
  readonly bytes: number;
}

/** What cleanCache() removed, or would remove. */
export interface CleanedCache {
  /** The folder of the cache. */
  readonly folder: string;
  /** What was there, by name. */
  readonly entries: readonly CacheEntry[];
  /** The sum of the entries. */
  readonly bytes: number;
  /** False with `dryRun`. */
  readonly isDone: boolean;
}

/** How cleanCache() acts. */
export interface CleanCacheOptions {
  /** Default: defaultCacheFolder(). */
  readonly cacheFolder?: string;
  /** Measure, and remove nothing. */
  readonly dryRun?: boolean;
}

/** What a lab fetches and builds: kernels, the lists of apt, and images, with what their building left behind. */
const NAMES = /^(kernels|apt|guest-[\w-]+(\.cpio)?)$/;
const BLOCK_BYTES = 512;

/**
 * unlink(2), rmdir(2): removes the kernels, lists and images from the cache of the lab, which fetches and builds them
 * again. Leaves what is not the lab's, and lab.json, the latest results. A folder that does not exist is empty.
 */
export function cleanCache(options: CleanCacheOptions = {}): CleanedCache {
  checkKeys("cleanCache()", options, ["cacheFolder", "dryRun"]);
  checkFlags(options, ["dryRun"]);
  const { cacheFolder: folder = defaultCacheFolder(), dryRun = false } = options;
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => NAMES.test(name)) : [];
  const entries = names.sort().map((name) => ({ name, bytes: sizeOf(path.join(folder, name)) }));
  if (!dryRun)
    for (const { name } of entries) rmSync(path.join(folder, name), { recursive: true, force: true });
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  return { folder, entries, bytes, isDone: !dryRun };
}

/** Follows no link: what a link leads to stays. */
function sizeOf(file: string): number {
  const found = lstatSync(file);
  const below = found.isDirectory() ? readdirSync(file).map((name) => sizeOf(path.join(file, name))) : [];
  return below.reduce((sum, bytes) => sum + bytes, found.blocks * BLOCK_BYTES);
}
