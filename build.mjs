// Prepares a bare clone: installs what is missing and builds what is stale, nothing else. It runs before
// `npm start` and `npm test`, so it is plain JavaScript and needs only Node. --prebuild, which `npm pack` and an install
// from git run, also puts the addon where the package has it; --release makes the addons of every platform, checks them
// and packs the package.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { writeNotices } from "./.ci/notices.mjs";

const OLDEST_NODE = [20, 12];
const root = import.meta.dirname ?? path.dirname(fileURLToPath(import.meta.url));

/** The folders to build, in order, and their inputs. This file builds them, so it is an input too. */
const STEPS = [
  {
    folder: "node_modules",
    inputs: ["package-lock.json"],
    doing: "installing the development dependencies",
    make: install,
  },
  {
    folder: "build",
    inputs: ["native", "binding.gyp", "package-lock.json", "build.mjs"],
    doing: "building the addon",
    make: buildAddon,
  },
  {
    folder: "dist",
    inputs: [
      "lib",
      "benchmarks",
      "tsconfig.json",
      "package.json",
      "package-lock.json",
      "build.mjs",
      ".ci/notices.mjs",
    ],
    doing: "building the library",
    make: buildLibrary,
  },
];

/** Where --release notes from what it made prebuilds/. A new build of the addon removes it. */
const RELEASED = "build/.released-from";
/** What the addons of a release are made from. */
const RELEASE_INPUTS = ["native", "package-lock.json", ".ci/release.mjs"];

/** The doors stay outside the benchmarks, so that a process has one native loader and one SocketError. */
const doors = {
  name: "doors",
  setup: ({ onResolve }) =>
    onResolve({ filter: /(^|\/)index\.ts$/ }, ({ path: door }) => ({
      path: door.replace("lib/", "").replace(/\.ts$/, ".js"),
      external: true,
    })),
};

/** Node's own modules for CommonJS in a module, which has no require(). */
const builtins = {
  name: "builtins",
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^node:/ }, ({ path: name, kind }) =>
      kind === "require-call" ? { path: name, namespace: "required" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "required" }, ({ path: name }) => ({
      contents: `export * from "${name}"; export { default } from "${name}";`,
    }));
  },
};

const isProgram =
  process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (isProgram) await main();

async function main() {
  process.chdir(root);
  checkNode();
  for (const step of STEPS) {
    if (!isStale(step)) continue;
    console.error(`selfconnect: ${step.doing} …`);
    await step.make();
    mkdirSync(step.folder, { recursive: true });
    writeFileSync(stampOf(step), hashOf(step.inputs));
  }
  writeFileSync("dist/commit", commit());
  if (process.argv.includes("--prebuild")) prebuild();
  if (process.argv.includes("--release")) await release();
}

/** Words of lib/ that the build replaces, so that a bundle of somebody else has them too. */
function defines() {
  const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  return { SELFCONNECT_VERSION: JSON.stringify(version) };
}

/** The cache's folder of this name, with these packages in its node_modules. Throws where npm cannot fetch them. */
export function fetchPackages(name, packages) {
  const cache = path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "selfconnect");
  const folder = path.join(cache, name);
  // npm writes this file last.
  if (existsSync(path.join(folder, "node_modules/.package-lock.json"))) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, "package.json"), "{}");
  const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"];
  execFileSync("npm", ["install", ...quiet, ...packages], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  });
  return folder;
}

/** Names the first stale folder and what to do, in one line. Null if none is stale. */
export function describeStaleness() {
  const stale = STEPS.find(isStale);
  return stale ? `${stale.folder} is older than ${stale.inputs[0]}: run node build.mjs` : null;
}

/** Whether a folder was built from other inputs, or for another architecture than this Node's. */
function isStale({ folder, inputs }) {
  const stamp = stampOf({ folder });
  return !existsSync(stamp) || readFileSync(stamp, "utf8") !== hashOf(inputs);
}

function stampOf({ folder }) {
  return path.join(root, folder, ".made-from");
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const isOld = major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1]);
  if (isOld) fail(`Node ${process.versions.node} is too old: install Node ${OLDEST_NODE.join(".")} or later`);
}

function install() {
  // npm runs `prepare` when it has installed: then everything is there.
  if (process.env.npm_lifecycle_event === "prepare" && hasDependencies()) return;
  // No package needs its install script, which could be `prepare` itself, and the next step builds the addon.
  run(npm(), ["ci", "--ignore-scripts", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"]);
}

function hasDependencies() {
  const { devDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
  return Object.entries(devDependencies).every(([name, version]) => {
    const manifest = `node_modules/${name}/package.json`;
    return existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === version;
  });
}

function buildAddon() {
  const needed = { python3: "python3", make: "make", "c++": "g++" };
  const missing = Object.keys(needed).filter((tool) => spawnSync(tool, ["--version"]).error);
  if (missing.length > 0) {
    const packages = missing.map((tool) => needed[tool]).join(" ");
    fail(`building the addon needs ${missing.join(", ")}. On Debian: apt-get install ${packages}`);
  }
  // With the headers of this Node's installation node-gyp need not download any.
  const prefix = path.resolve(process.execPath, "../..");
  const hasHeaders = existsSync(path.join(prefix, "include/node/node_api.h"));
  const nodedir = hasHeaders ? [`--nodedir=${prefix}`] : [];
  const gyp = "node_modules/node-gyp/bin/node-gyp.js";
  run([process.execPath], [gyp, "rebuild", "--silent", "-j", "max", ...nodedir]);
}

async function buildLibrary() {
  rmSync("dist", { recursive: true, force: true });
  // The compiler of TypeScript 7 takes a third of the time; tests use the API of 6, which 7 does not have.
  run([process.execPath], ["node_modules/typescript-7/bin/tsc", "-p", ".", "--emitDeclarationOnly"]);
  const { build, transform } = await import("esbuild");
  copyHeaders();
  const metafiles = [await buildDoors(build), await buildPreload(build, transform)];
  await buildBenchmarks(build);
  writeNotices(metafiles);
}

/** What native/compile.mjs needs besides the sources, with the licences. */
function copyHeaders() {
  mkdirSync("dist/include");
  const { include_dir } = createRequire(import.meta.url)("node-api-headers");
  for (const header of readdirSync(include_dir))
    copyFileSync(path.join(include_dir, header), `dist/include/${header}`);
  for (const header of ["napi.h", "napi-inl.h"])
    copyFileSync(`node_modules/node-addon-api/${header}`, `dist/include/${header}`);
  copyFileSync("node_modules/node-api-headers/LICENSE", "dist/include/LICENSE.node-api-headers");
  copyFileSync("node_modules/node-addon-api/LICENSE.md", "dist/include/LICENSE.node-addon-api");
}

/**
 * The doors of package.json, the command line, and the program that runs in a machine of the lab: what they share is
 * in chunks/, once, and a program loads a dozen files instead of a hundred. A chunk lies as deep as a room's door,
 * because both find files of the package by relative paths.
 */
async function buildDoors(build) {
  const { exports } = JSON.parse(readFileSync("package.json", "utf8"));
  const names = Object.values(exports).map((door) => door.default ?? door.import?.default ?? "");
  const isModule = (name) => /^\.\/dist\/.*index\.js$/.test(name);
  const programs = ["lib/cli/start.ts", "lib/cli/main.ts", "lib/lab/guest.ts", "lib/lab/tether.ts"];
  const { metafile } = await build({
    entryPoints: [...names.filter(isModule).map(sourceOf), ...programs],
    outdir: "dist",
    outbase: "lib",
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node20",
    define: defines(),
    external: ["bullmq", "ioredis"], // Optional peers of the fleet, loaded when a queue is used.
    plugins: [builtins],
    logLevel: "warning",
    metafile: true,
  });
  return metafile;
}

/** "./dist/kernel/index.js" is built from lib/kernel/index.ts. */
function sourceOf(door) {
  return door.replace("./dist/", "lib/").replace(/\.js$/, ".ts");
}

/**
 * One CommonJS file for dist/register.cjs: it loads in a quarter of the time of its modules, and on Node 20.12. It has a
 * copy of SocketError: brand() of lib/socket/errors.ts makes `instanceof` true for the errors of both.
 */
async function buildPreload(build, transform) {
  const { metafile } = await build({
    entryPoints: ["lib/guard/register.ts"],
    outfile: "dist/guard/register.cjs",
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node20",
    // It asks __filename first: lib/socket/own-files.ts.
    define: { ...defines(), "import.meta.url": "undefined", "import.meta.dirname": "undefined" },
    logLevel: "warning",
    metafile: true,
  });
  for (const [source, built] of Object.entries({
    "register.cts": "register.cjs",
    "register.ts": "register.js",
  })) {
    const { code } = await transform(readFileSync(`lib/${source}`, "utf8"), {
      loader: "ts",
      target: "es2022",
    });
    writeFileSync(`dist/${built}`, code.replace("./register.cts", "./register.cjs"));
  }
  return metafile;
}

/** Builds the benchmark's runner and its drivers in JavaScript; C and Go drivers are built when they run. */
async function buildBenchmarks(build) {
  const sources = readdirSync("benchmarks/drivers").map((name) => `benchmarks/drivers/${name}`);
  const isTypeScript = (source) => source.endsWith(".ts");
  await build({
    entryPoints: ["benchmarks/run.ts", ...sources.filter(isTypeScript)],
    outdir: "dist/benchmarks",
    outbase: "benchmarks",
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node20",
    plugins: [doors],
    logLevel: "warning",
  });
  for (const source of sources) if (!isTypeScript(source)) copyFileSync(source, path.join("dist", source));
}

/**
 * Puts this machine's addon into the package, so that users need no install script and no compiler, unless a release of
 * the same sources has put there those of every platform.
 */
function prebuild() {
  if (existsSync(RELEASED) && readFileSync(RELEASED, "utf8") === hashOf(RELEASE_INPUTS)) return;
  rmSync("prebuilds", { recursive: true, force: true });
  const isMusl = process.platform === "linux" && !process.report.getReport().header.glibcVersionRuntime;
  const folder = `prebuilds/${process.platform}-${process.arch}${isMusl ? "-musl" : ""}`;
  mkdirSync(folder, { recursive: true });
  copyFileSync("build/Release/selfconnect.node", `${folder}/selfconnect.node`);
}

/** The addons of every platform, and the package that has them. */
async function release() {
  rmSync("prebuilds", { recursive: true, force: true });
  const { makeRelease } = await import("./.ci/release.mjs");
  const problems = makeRelease(fetchPackages);
  if (problems.length > 0) fail(problems.join("\nselfconnect: "));
  writeFileSync(RELEASED, hashOf(RELEASE_INPUTS));
  console.log(execFileSync("npm", ["pack", "--silent"], { encoding: "utf8" }).trim().split("\n").at(-1));
}

function commit() {
  const git = spawnSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" });
  return git.status === 0 ? git.stdout.trim() : "";
}

function npm() {
  return process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
}

function run([command, ...first], rest) {
  try {
    execFileSync(command, [...first, ...rest], { stdio: ["ignore", "pipe", "pipe"], env: ownEnvironment() });
  } catch (error) {
    process.stderr.write(error.stdout ?? "");
    process.stderr.write(error.stderr ?? "");
    fail(`"${[command, ...rest].join(" ")}" failed (${error.status ?? error.message})`);
  }
}

/** Without what an npm that runs this was told about its own work: `npm install --global git+…`. */
function ownEnvironment() {
  const { npm_config_global, npm_config_location, npm_config_dry_run, ...env } = process.env;
  return env;
}

function hashOf(inputs) {
  const hash = createHash("sha256").update(`${process.platform}-${process.arch}`);
  for (const input of inputs.flatMap(filesOf))
    hash.update(input).update(readFileSync(path.join(root, input)));
  return hash.digest("hex");
}

function filesOf(input) {
  const isFile = /\.\w+$/.test(input);
  if (isFile) return [input];
  return readdirSync(path.join(root, input), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

function fail(message) {
  console.error(`selfconnect: ${message}`);
  process.exit(1);
}
