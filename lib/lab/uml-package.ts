/** Takes a User-mode Linux out of its Debian package, so that it runs here without being installed. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { runLaunch } from "./machine.ts";

/** The program, and the modules of IPv6, which Debian builds in since 7.2: tar fails where there are none. */
const UNPACK_KERNEL = `dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --wildcards \
  --transform 's|.*/||;s|linux.uml|linux|' \
  --no-anchored 'bin/linux.uml' 'lib/crc-ccitt.ko' 'net/ipv6/ipv6.ko'; test -s "$2/linux"`;
/** Newer suites have all of it in one folder; older ones have links to files beside them. */
const UNPACK_LIBRARY = `dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --wildcards --transform 's|.*/||' --no-anchored \
  'x86_64-linux-gnu/ld-*' 'x86_64-linux-gnu/lib*.so*'`;

const LOADER = "/lib64/ld-linux-x86-64.so.2";
const OWN_LOADER = "./ld-linux-x86-64.so.2";

/**
 * Unpacks the archive into `folder`: `linux`, and beside it the C library that `fetchLibrary` downloads where this
 * host's is too old for it. Returns the release that uname(2) will report. Throws if the program does not run.
 */
export async function unpackUml(
  archive: string,
  folder: string,
  fetchLibrary: () => string,
): Promise<string> {
  mkdirSync(folder, { recursive: true });
  execFileSync("sh", ["-c", UNPACK_KERNEL, "sh", archive, folder], { stdio: "pipe" });
  const program = path.join(folder, "linux");
  const release = await releaseOf(program);
  if (release !== null) return release;
  execFileSync("sh", ["-c", UNPACK_LIBRARY, "sh", fetchLibrary(), folder], { stdio: "pipe" });
  useOwnLoader(program);
  const own = await releaseOf(program);
  if (own === null)
    throw new Error(`${path.basename(archive)} does not run here, with its own C library either`);
  return own;
}

/**
 * Runs a User-mode Linux with the libraries beside it, if there are any. LD_LIBRARY_PATH is set for the program alone:
 * another program would load a C library that is not its own.
 */
export function umlCommand(program: string, args: readonly string[]): { file: string; args: string[] } {
  return { file: "sh", args: ["-c", RUN, "sh", path.dirname(program), path.basename(program), ...args] };
}

const RUN = 'cd "$1" && program=$2 && shift 2 && LD_LIBRARY_PATH="$PWD" exec "./$program" "$@"';

/** Limits of a program that prints one line. Tests shorten the time. */
export const versionLimits = { silenceMs: 30_000, totalMs: 30_000, outputBytes: 10_000 };

/** Returns what `linux --version` prints; null where it does not run, or does not end in time. */
async function releaseOf(program: string): Promise<string | null> {
  let release: string | null = null;
  const readLine = (line: string) => {
    if (/^\d+\.\d+\S*$/.test(line.trim())) release = line.trim();
    return release === null ? "noise" : "last";
  };
  await runLaunch({ ...umlCommand(program, ["--version"]), ownPids: true }, readLine, versionLimits);
  return release;
}

/**
 * Names the loader beside the program. Starting the loader with the program as its argument would not do: User-mode
 * Linux executes /proc/self/exe again, and takes the memory after it.
 */
function useOwnLoader(program: string): void {
  const bytes = readFileSync(program);
  const at = bytes.indexOf(`${LOADER}\0`);
  if (at < 0) throw new Error(`${program} does not name ${LOADER}`);
  bytes.fill(0, at, at + LOADER.length);
  bytes.write(OWN_LOADER, at, "latin1");
  writeFileSync(program, bytes);
}
