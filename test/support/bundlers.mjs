// The recipes of docs/bundling.md for `npm run check:wide bundlers`: each is run as it stands, with the bundlers that npm
// fetches at exact versions, and what it made runs in a folder from which no node_modules can be reached.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { table, writeSection } from "./platforms.mjs";
import { runCommand } from "./run-command.mjs";
import { fetchRuntime, fetchVersions, RUNTIMES } from "./runtimes.mjs";

const PAGE = new URL("../../docs/bundling.md", import.meta.url);
const PACKAGES = [
  "@rollup/plugin-node-resolve@16.0.3",
  "@vercel/nft@1.11.5",
  "esbuild@0.28.2",
  "postject@1.0.0-alpha.6",
  "rollup@4.68.8",
  "vite@8.3.8",
  "webpack@5.113.0",
  "webpack-cli@6.0.1",
];

/** The page's recipes: the bundler, the commands, the files that they need, and how to run what they made. */
function readRecipes() {
  const fences = [...readFileSync(PAGE, "utf8").matchAll(/^```\w+ (.+)\n([\s\S]*?)^```$/gm)].map(
    ([, words, code]) => ({ ...attributesOf(words), code }),
  );
  const filesOf = (bundler) => fences.filter(({ file, bundler: own }) => file && (!own || own === bundler));
  return fences
    .filter(({ run }) => run)
    .map(({ bundler, run, code }) => ({ bundler, run, commands: code, files: filesOf(bundler) }));
}

/** `run="node x" bundler=Vite` as an object. */
function attributesOf(words) {
  const pairs = [...words.matchAll(/(\w+)=(?:"([^"]*)"|(\S+))/g)];
  return Object.fromEntries(pairs.map(([, name, quoted, plain]) => [name, quoted ?? plain]));
}

/** The folder of the bundlers, and of Bun; npm fetches them if they are not in the cache. */
function fetchBundlers() {
  const bun = fetchRuntime(RUNTIMES.find(({ name }) => name.startsWith("Bun")));
  return { tools: fetchVersions("bundlers", PACKAGES), bun: path.dirname(bun) };
}

/** Packs the package into a folder as npm publishes it, and returns the path of the file. */
export function packPackage(folder) {
  const packed = execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], {
    encoding: "utf8",
  });
  return path.join(folder, packed.trim().split("\n").at(-1));
}

/** Packs the package and unpacks it into a new folder, whose path is returned. */
export function unpackPackage() {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-packed-"));
  execFileSync("tar", ["-xzf", packPackage(folder), "-C", folder]);
  return path.join(folder, "package");
}

/**
 * Bundles the page's program and runs the bundle. Returns what it printed, and the output of the commands that failed.
 * `control` leaves the addon out.
 */
async function runRecipe({ run, commands, files }, { tools, bun }, unpacked, control = false) {
  const folder = mkdtempSync(path.join(tools, "run-"));
  const elsewhere = mkdtempSync(path.join(os.tmpdir(), "selfconnect-bundle-"));
  const PATH = [path.join(tools, "node_modules/.bin"), bun, process.env.PATH].join(":");
  try {
    mkdirSync(path.join(folder, "node_modules"));
    cpSync(unpacked, path.join(folder, "node_modules/selfconnect"), { recursive: true });
    for (const { file, code } of files) writeFileSync(path.join(folder, file), code);
    const script = `set -e; cd "${folder}"; ${commands}`;
    const made = await runCommand(["env", `PATH=${PATH}`, "sh", "-c", script]);
    if (made.status !== 0) return made;
    renameOver(path.join(folder, "out"), path.join(elsewhere, "out"));
    rmSync(folder, { recursive: true });
    if (control) rmSync(path.join(elsewhere, "out/prebuilds"), { recursive: true });
    return await runCommand(["env", `PATH=${PATH}`, "sh", "-c", `cd "${elsewhere}"; ${run}`]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    rmSync(elsewhere, { recursive: true });
  }
}

/** Runs every recipe of the page, and one of them without the addon. Writes a section of docs/platforms.md. */
export async function testBundlers(check) {
  const tools = fetchBundlers();
  const unpacked = unpackPackage();
  const { version } = JSON.parse(readFileSync(path.join(unpacked, "package.json"), "utf8"));
  const rows = [];
  const recipes = readRecipes();
  try {
    for (const recipe of recipes) {
      const { status, output } = await runRecipe(recipe, tools, unpacked);
      const works = status === 0 && output === `true ${version}\n`;
      check(`${recipe.bundler} bundles a program that runs`, works, output.slice(-1500));
      const tool = PACKAGES.find((name) => name.startsWith(nameOf(recipe.bundler)));
      rows.push([recipe.bundler, tool?.split("@").at(-1) ?? "", works ? "bundles and runs" : "fails"]);
    }
    const { output } = await runRecipe(recipes[0], tools, unpacked, true);
    const isClear = output.includes("ERR_ADDON_MISSING") && output.includes("docs/bundling.md");
    check("control: without the addon beside it a bundle says what it needs", isClear, output.slice(-1500));
  } finally {
    rmSync(path.dirname(unpacked), { recursive: true });
  }
  writeSection("Bundlers", table(["bundler", "version", "result"], rows));
}

/** The package of a bundler, as the page names it: "esbuild, CommonJS" is esbuild. */
function nameOf(bundler) {
  return bundler.split(",")[0].toLowerCase();
}

/** rename(2), also to another file system. */
function renameOver(from, to) {
  try {
    renameSync(from, to);
  } catch {
    cpSync(from, to, { recursive: true });
  }
}
