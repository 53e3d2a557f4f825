// npm run check:wide -- node --sources DIR: Node's own tests of net, http and tls, from a source tree of Node (DIR), under
// the guard and without it. `--import` of anything changes Node, so an empty module has a column of its own: what
// differs there is not ours.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { ALONE, fetchRuntime, REGISTER, RUNTIMES, THIS_NODE } from "./runtimes.mjs";

const TESTS = /^test-(net-.*|http-.*|tls-.*connect.*)\.m?js$/;
const FOLDERS = ["test/parallel", "test/sequential"];
const TIMEOUT_MS = 60_000;
/** A test that fails in some columns runs again in all of them: it has failed where it never passes. */
const TRIES = 3;

/** The columns, each with Node's flags. */
const COLUMNS = {
  none: [],
  "an empty `--import`": ["--import", "data:text/javascript,"],
  "register by `--import`": ["--import", pathToFileURL(REGISTER.replace(/\.cjs$/, ".js")).href],
  "register by `--require`": ["--require", REGISTER],
};
/** The column without the guard that a guarded column must equal. */
const CONTROL = { "register by `--import`": "an empty `--import`", "register by `--require`": "none" };

/**
 * Runs the tests of a source tree whose names match `only`, and prints a table. Returns the names of tests that fail
 * because of the guard.
 */
export async function runNodeTests(source, only = "") {
  const names = new RegExp(only);
  const files = FOLDERS.flatMap((folder) => testsIn(source, folder)).filter((file) =>
    names.test(path.basename(file)),
  );
  const node = nodeFor(source);
  console.log(`\n— ${files.length} tests of ${source} on ${node.name}`);
  const results = new Map(files.map((file) => [file, new Map()]));
  await runAll(files, node, results);
  for (let again = 1; again < TRIES; again++)
    await runAll(
      files.filter((file) => isMixed(results.get(file))),
      node,
      results,
    );
  return report(results);
}

function testsIn(source, folder) {
  const full = path.join(source, folder);
  if (!existsSync(full)) return [];
  return readdirSync(full)
    .filter((name) => TESTS.test(name))
    .sort()
    .map((name) => path.resolve(full, name));
}

/** A Node of the source's major version: this one, or one of check:wide's. */
function nodeFor(source) {
  const header = path.join(source, "src/node_version.h");
  const major = existsSync(header) && /NODE_MAJOR_VERSION (\d+)/.exec(readFileSync(header, "utf8"))?.[1];
  const isOfMajor = ({ name }) => name.startsWith(`Node ${major}.`);
  if (!major || isOfMajor(THIS_NODE)) return THIS_NODE;
  const runtime = RUNTIMES.find(isOfMajor);
  if (!runtime) throw new Error(`${source} is the source of Node ${major}: check:wide has no such Node`);
  return { ...runtime, path: fetchRuntime(runtime) };
}

/** Runs the tests in all columns where they have not passed yet, one on each processor. */
async function runAll(files, node, results) {
  const jobs = files.flatMap((file) => Object.keys(COLUMNS).map((column) => ({ file, column })));
  const lanes = Array.from({ length: os.availableParallelism() }, async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) {
      const passed = results.get(job.file);
      if (!passed.get(job.column)) passed.set(job.column, await passes(node, job));
    }
  });
  await Promise.all(lanes);
}

/** Runs one test in namespaces of its own, so that what it leaves behind ends with it. */
function passes(node, { file, column }) {
  const flags = /^\/\/ Flags:(.*)$/m.exec(readFileSync(file, "utf8"))?.[1].trim().split(/\s+/) ?? [];
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-node-"));
  const [unshare, ...args] = [...ALONE, node.path, ...COLUMNS[column], ...flags, file];
  return new Promise((resolve) => {
    const child = spawn(unshare, args, {
      env: { ...process.env, NODE_OPTIONS: "", NODE_TEST_DIR: folder },
      stdio: "ignore",
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    child.on("close", (status) => {
      rmSync(folder, { recursive: true, force: true });
      resolve(status === 0);
    });
  });
}

function isMixed(passed) {
  return new Set(passed.values()).size > 1;
}

function report(results) {
  const columns = Object.keys(COLUMNS);
  const count = (column, isPassed) =>
    [...results.values()].filter((passed) => passed.get(column) === isPassed).length;
  const row = (cells) => console.log(`| ${cells.join(" | ")} |`);
  row(["", ...columns]);
  row(["---", ...columns.map(() => "---")]);
  row(["passed", ...columns.map((column) => count(column, true))]);
  row(["failed", ...columns.map((column) => count(column, false))]);
  const ours = [];
  for (const [file, passed] of results) {
    const failing = columns.filter((column) => !passed.get(column));
    if (failing.length === 0) continue;
    const name = path.basename(file);
    const isOurs = failing.some((column) => column in CONTROL && passed.get(CONTROL[column]));
    if (isOurs) ours.push(name);
    const where = isMixed(passed) ? failing.join(", ") : "every column";
    console.log(`${name} fails in: ${where}${isOurs ? "" : " (not the guard's)"}`);
  }
  return ours;
}
