/** What cleanCache() removes from the lab's cache, and what it leaves. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { cleanCache } from "../../lib/lab/cache.ts";

const KEPT = ["lab.json", "notes", "runtimes"];
const REMOVED = ["apt", "guest-0123456789abcdef.cpio", "guest-a1B2c3", "kernels"];
let cacheFolder = "";
let outside = "";

beforeEach(() => {
  cacheFolder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-cache-"));
  outside = mkdtempSync(path.join(os.tmpdir(), "selfconnect-outside-"));
  for (const name of ["apt", "guest-a1B2c3", "kernels", "runtimes"]) mkdirSync(path.join(cacheFolder, name));
  for (const name of ["lab.json", "notes", "guest-0123456789abcdef.cpio", "kernels/vmlinuz"])
    writeFileSync(path.join(cacheFolder, name), "x".repeat(10_000));
  writeFileSync(path.join(outside, "kept"), "");
  symlinkSync(outside, path.join(cacheFolder, "kernels/link"));
});

afterEach(() => {
  for (const folder of [cacheFolder, outside]) rmSync(folder, { recursive: true });
});

it("measures and removes what the lab has made, and nothing else", () => {
  const planned = cleanCache({ cacheFolder, dryRun: true });
  expect(planned).toMatchObject({ folder: cacheFolder, isDone: false });
  expect(planned.entries.map(({ name }) => name)).toEqual(REMOVED);
  expect(planned.bytes).toBeGreaterThanOrEqual(20_000);
  expect(readdirSync(cacheFolder).sort()).toEqual([...REMOVED, ...KEPT].sort());
  expect(cleanCache({ cacheFolder })).toEqual({ ...planned, isDone: true });
  expect(readdirSync(cacheFolder).sort()).toEqual(KEPT);
  expect(existsSync(path.join(outside, "kept"))).toBe(true);
  expect(cleanCache({ cacheFolder })).toMatchObject({ entries: [], bytes: 0 });
});

it("takes a folder that does not exist for an empty one", () => {
  expect(cleanCache({ cacheFolder: path.join(cacheFolder, "none") }).entries).toEqual([]);
});
