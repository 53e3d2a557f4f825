// How the addon is compiled. binding.gyp, .ci/release.mjs and whoever has no prebuilt addon read the macros and flags
// here. As a program, node node_modules/selfconnect/native/compile.mjs, it compiles the addon of this package for this
// machine, where Node looks for it first. It needs only a C++20 compiler, $CXX or c++: Node-API's headers are in dist/.
import { execFileSync } from "node:child_process";
import { mkdirSync, realpathSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { sourcesFor } from "./sources.mjs";

const OUTPUT = "build/Release/selfconnect.node";
const root = fileURLToPath(new URL("..", import.meta.url));

const LISTS = {
  defines: [
    "NAPI_VERSION=9",
    "NAPI_DISABLE_CPP_EXCEPTIONS",
    "NODE_ADDON_API_DISABLE_DEPRECATED",
    "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
  ],
  flags: ["-Wall", "-Wextra", "-fvisibility=hidden"],
  standard: ["-std=c++20"],
};

/**
 * Compiles the addon's sources for a platform with `compiler`, a command and its first arguments, to `output`, without
 * symbols. Throws where the compiler fails; its words are on stderr.
 */
export function compileAddon([command, ...first], platform, output, more = []) {
  mkdirSync(path.dirname(output), { recursive: true });
  // Node has the symbols of Node-API; only Apple's linker wants to know that.
  const link = platform === "darwin" ? ["-Wl,-undefined,dynamic_lookup"] : ["-pthread", "-s"];
  const args = [
    ...first,
    ...LISTS.standard,
    ...LISTS.flags,
    ...["-O2", "-fPIC", "-shared", ...LISTS.defines.map((define) => `-D${define}`)],
    ...["-DBUILDING_NODE_EXTENSION", "-Inative", "-Idist/include"],
    ...sourcesFor(platform),
    ...[...link, ...more, "-o", path.resolve(output)],
  ];
  execFileSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
}

function main(list) {
  if (list) {
    console.log(LISTS[list].join("\n"));
    return;
  }
  const output = path.join(root, OUTPUT);
  rmSync(output, { force: true });
  const compiler = process.env.CXX || "c++";
  try {
    compileAddon(compiler.split(" "), process.platform, output);
    console.log(output);
  } catch (error) {
    const isMissing = error.code === "ENOENT";
    const reason = isMissing
      ? `there is no ${compiler}. On Debian: apt-get install g++`
      : error.message.split("\n")[0];
    console.error(`selfconnect: the addon was not built: ${reason.slice(0, 200)}`);
    process.exitCode = 1;
  }
}

if (realpathSync(process.argv[1] ?? ".") === fileURLToPath(import.meta.url)) main(process.argv[2]);
