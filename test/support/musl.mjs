// A runtime with musl, where the C library is glibc: the musl build of Bun from npm, with musl's loader from Debian and a
// libstdc++ for musl, which Debian lacks. It is linked here from the static one of g++: only what Bun asks for.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";

export const MUSL_LOADER = "/lib/ld-musl-x86_64.so.1";

/** What g++'s static library asks of glibc, and musl does not have. No exception passes through it in these checks. */
const SHIM = `
  #include <stdlib.h>
  int getentropy(void *, size_t);
  char __libc_single_threaded = 0;
  int _dl_find_object(void *address, void *result) { return -1; }
  unsigned arc4random(void) { unsigned value; if (getentropy(&value, sizeof value)) abort(); return value; }
`;

/** What a program copies at its start is defined in its table, not undefined: the tables of run-time types. */
const COPIED = ["_class_type_info", "_si_class_type_info", "_vmi_class_type_info"].map(
  (name) => `_ZTVN10__cxxabiv1${name.length + 1}_${name}E`,
);

/** The undefined symbols of a program that are C++'s own. */
function listSymbols(program) {
  const table = execFileSync("readelf", ["--dyn-syms", "--wide", program], {
    maxBuffer: 64 << 20,
  }).toString();
  const names = table
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[6] === "UND" && columns[7])
    .map((columns) => columns[7].replace(/@.*/, ""));
  return names.filter(
    (name) => /^(_Z|__cxa_|__dynamic_cast)/.test(name) && !/finalize|thread_atexit_impl/.test(name),
  );
}

/** Makes a folder with the libraries that `program` needs, for LD_LIBRARY_PATH. */
export function makeMuslLibraries(program, zig, folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  symlinkSync(MUSL_LOADER, path.join(folder, "libc.musl-x86_64.so.1"));
  const shim = path.join(folder, "shim.c");
  writeFileSync(shim, SHIM);
  const archives = ["libstdc++.a", "libgcc_eh.a", "libgcc.a"].map((name) =>
    execFileSync("g++", [`-print-file-name=${name}`])
      .toString()
      .trim(),
  );
  const wanted = [...listSymbols(program), ...COPIED].map((name) => `-Wl,-u,${name}`);
  const output = ["-Wl,-soname,libstdc++.so.6", "-o", path.join(folder, "libstdc++.so.6")];
  execFileSync(zig, [
    "cc",
    "-target",
    "x86_64-linux-musl",
    "-shared",
    "-fPIC",
    shim,
    ...wanted,
    ...output,
    ...archives,
  ]);
  return folder;
}
