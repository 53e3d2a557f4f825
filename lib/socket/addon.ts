/** Finds the addon's file and loads it, which no other file does, or says why not and what to do. */

import { closeSync, existsSync, openSync, readdirSync, readSync } from "node:fs";
import nodeModule from "node:module";
import path from "node:path";
import { isInPackage, ownFile, packageFile, prebuiltFolder } from "./own-files.ts";

/** A runtime, as far as an addon must fit it. */
export interface AddonHost {
  readonly platform: string;
  readonly architecture: string;
  /** The C library of Linux; "" elsewhere. */
  readonly libc: "glibc" | "musl" | "";
}

interface Failure extends Error {
  readonly code?: string;
}

const FILE = "selfconnect.node";
/** ELF names the loader of a program within its first bytes. */
const HEAD_BYTES = 2048;

/** The runtime that runs this. */
export function addonHost(): AddonHost {
  const { platform, arch: architecture } = process;
  return { platform, architecture, libc: platform === "linux" ? libcOf(process.execPath) : "" };
}

/** The folder of prebuilds/ that fits a host, such as "linux-x64-musl". */
export function prebuildName({ platform, architecture, libc }: AddonHost): string {
  return `${platform}-${architecture}${libc === "musl" ? "-musl" : ""}`;
}

/**
 * dlopen(3): the exports of the first addon that loads: the one that SELFCONNECT_ADDON names and no other; one beside
 * this file, where a bundle has it; the one that was built here; the prebuilt one. Throws ERR_ADDON_MISSING.
 */
export function requireAddon(
  host = addonHost(),
  wanted = process.env.SELFCONNECT_ADDON,
  places = wanted ? [path.resolve(wanted)] : placesFor(prebuildName(host)),
): unknown {
  // By its full name: webpack replaces a createRequire() that is imported by name with something of its own.
  const require = nodeModule.createRequire(ownFile());
  let failure: Failure | undefined;
  for (const place of places) {
    if (!existsSync(place)) continue;
    try {
      return require(place);
    } catch (error) {
      failure ??= error as Failure;
    }
  }
  const message = describeFailure(host, places, failure, Boolean(wanted));
  throw Object.assign(new Error(message, failure && { cause: failure }), { code: "ERR_ADDON_MISSING" });
}

/** The files in which an addon may be, by their absolute paths. */
export function placesFor(prebuild: string): string[] {
  const folder = path.dirname(ownFile());
  return [
    path.join(folder, FILE),
    path.join(folder, "prebuilds", prebuild, FILE),
    packageFile(`build/Release/${FILE}`),
    packageFile(`prebuilds/${prebuild}/${FILE}`),
  ];
}

function describeFailure(
  host: AddonHost,
  places: readonly string[],
  failure: Failure | undefined,
  isWanted: boolean,
): string {
  const reason = failure ? failure.message.split("\n")[0]! : `there is no ${places.at(-1)}`;
  const what = `selfconnect has no addon for ${nameOf(host)}: ${reason}`;
  if (failure?.code === "ERR_DLOPEN_DISABLED") return `${what}: ${flagsOf()}`;
  if (isWanted) return `${what}; SELFCONNECT_ADDON names this file, and no other is tried`;
  if (!isInPackage()) {
    return `${what}; a bundle needs ${FILE} in its folder, or SELFCONNECT_ADDON (docs/bundling.md of selfconnect)`;
  }
  const compile = packageFile("native/compile.mjs");
  return `${what}; ${shipped()}. To build it here with a C++20 compiler: node ${compile}`;
}

/** "linux-x64 (glibc 2.36)". */
function nameOf(host: AddonHost): string {
  const libc = libcText(host);
  return `${host.platform}-${host.architecture}${libc && ` (${libc})`}`;
}

/** "glibc 2.36", "musl"; "" where the system has one C library. */
export function libcText({ libc }: AddonHost): string {
  return libc === "glibc" ? `glibc ${glibcVersion() ?? ""}`.trimEnd() : libc;
}

/** What starts a Node that does not load addons so that it does. */
function flagsOf(): string {
  return "permission" in process ? "start Node with --allow-addons" : "start Node without --no-addons";
}

function shipped(): string {
  try {
    return `this package has it for ${readdirSync(prebuiltFolder()).sort().join(", ")}`;
  } catch {
    return "this package has none prebuilt";
  }
}

/**
 * elf(5): the C library that a program is linked to, by the loader that it names. Where the file cannot be read, as
 * under Node's permission model, the runtime's own report knows: it has a version of glibc or none.
 */
function libcOf(program: string): "glibc" | "musl" {
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const fd = openSync(program, "r");
    try {
      readSync(fd, head, 0, HEAD_BYTES, 0);
    } finally {
      closeSync(fd);
    }
    return head.includes("/ld-musl-") ? "musl" : "glibc";
  } catch {
    return glibcVersion() === undefined ? "musl" : "glibc";
  }
}

/** gnu_get_libc_version(3), from the runtime's report; undefined where it is not glibc. */
function glibcVersion(): string | undefined {
  const report = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined;
  if (!report) return undefined;
  const { excludeNetwork = false } = report;
  report.excludeNetwork = true; // Without it a report asks for the names of the host's addresses.
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
  report.excludeNetwork = excludeNetwork;
  return header?.glibcVersionRuntime;
}
