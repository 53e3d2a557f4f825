/** What of this package another host is sent: an archive with the addon of its platform. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { AddonHost } from "../socket/addon.ts";
import { addonHost, placesFor, prebuildName } from "../socket/addon.ts";
import { packageFile, prebuiltFolder } from "../socket/own-files.ts";

const MOST_BYTES = 64_000_000;
/** Declarations, headers and the programs of a benchmark's peers in other languages are for those who install it. */
const LEFT_OUT = ["*.d.ts", "*.d.cts", "dist/include"];

const archives = new Map<string, Buffer>();

/** tar(1): returns the package for a platform, compressed. Throws where it has no addon for that. */
export function packageFor(platform: AddonHost): Buffer {
  const name = prebuildName(platform);
  const known = archives.get(name);
  if (known) return known;
  const root = packageFile("");
  const files = ["package.json", "dist", path.relative(root, addonFor(name))];
  const args = ["-czf", "-", ...LEFT_OUT.map((pattern) => `--exclude=${pattern}`), "-C", root, ...files];
  // bsdtar of macOS would add a file for each file's attributes.
  const env = { ...process.env, COPYFILE_DISABLE: "1" };
  const archive = execFileSync("tar", args, { maxBuffer: MOST_BYTES, env });
  archives.set(name, archive);
  return archive;
}

/** The oldest release of Node that runs this package. */
export function oldestNode(): readonly [major: number, minor: number] {
  const { engines } = JSON.parse(readFileSync(packageFile("package.json"), "utf8"));
  const [, major, minor] = /^>=(\d+)\.(\d+)$/.exec(engines.node)!;
  return [Number(major), Number(minor)];
}

function addonFor(name: string): string {
  const own = prebuildName(addonHost());
  const addon = placesFor(name).find((place) => {
    // One that was built here is for this platform.
    const isForAll = path.basename(path.dirname(place)) === name;
    return (isForAll || name === own) && existsSync(place);
  });
  if (addon) return addon;
  throw new Error(`this package has no addon for ${name}: it has it for ${shippedNames(own).join(", ")}`);
}

function shippedNames(own: string): string[] {
  const shipped = existsSync(prebuiltFolder()) ? readdirSync(prebuiltFolder()) : [];
  return [...new Set([own, ...shipped])].sort();
}
