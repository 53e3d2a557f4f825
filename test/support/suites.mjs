// npm run check:wide -- suites --sources DIR: the tests of other people's clients, from their source trees below DIR,
// under the guard and without it. npm's packages do not have them. What the tests need npm fetches, at exact versions.
import { execFileSync, spawn } from "node:child_process";
import { readdirSync, rmSync, symlinkSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { ALONE, fetchVersions, REGISTER } from "./runtimes.mjs";

/** One file of undici computes for more than a minute, and other work may take most of the machine. */
const TIMEOUT_MS = 300_000;
/** A test that is missing under register runs again: it has failed where it never passes. */
const TRIES = 6;

const CHAI = ["chai@4.3.6", "chai-as-promised@7.1.1", "server-destroy@1.0.1", "sinon@13.0.1", "uuid@9.0.0"];
const MOCHA = "node_modules/mocha/bin/_mocha";
const ESBUILD = "node_modules/esbuild/bin/esbuild";
const BUNDLE = ["--bundle", "--platform=node", "--keep-names"];
const TAP = "--test-reporter=tap";

/**
 * Each with its name below the folder of sources, the packages that its tests need, which files they are, what runs some
 * of them (Node's flags, then the program), and the server that they connect to. Each file has a process of its own,
 * unless the suite says `together`.
 */
export const SUITES = [
  {
    name: "ioredis",
    packages: ["ioredis@6.0.0", "mocha@11.7.6", "ts-node@10.9.2", "typescript@5.3.3", ...CHAI],
    files: /^test\/(unit|functional)\/.*\.ts$/,
    // As its own script does, because the compiler starts with each process, and takes longer than most files.
    together: true,
    timeoutMs: 900_000,
    run: (files) => [MOCHA, "--reporter", "tap", "test/helpers/global.ts", ...files],
    env: { NODE_ENV: "test", TS_NODE_TRANSPILE_ONLY: "true" },
    // Its tests know no other port than the default one of Redis.
    server: { name: "redis", port: 6379 },
  },
  {
    name: "mqtt",
    packages: [
      "mqtt@5.14.1",
      "aedes-cli@0.8.0",
      "chai@5.2.1",
      "esbuild@0.25.8",
      "esbuild-register@3.6.0",
    ].concat([
      "leaked-handles@5.2.0",
      "mqtt-connection@4.1.0",
      "mqtt-level-store@3.1.0",
      "should@13.2.3",
      "sinon@17.0.2",
    ]),
    files: /^test\/node\/[^/]*\.ts$/,
    run: (files) => ["--require", "esbuild-register", TAP, ...files],
  },
  {
    name: "pg",
    packages: ["pg@8.23.0", "async@2.6.4", "bluebird@3.7.2", "co@4.6.0", "pg-copy-streams@0.3.0"],
    files: /^test\/(unit|integration)\/.*-tests\.js$/,
    run: (files) => files,
    env: { PGUSER: "tester", PGHOST: "127.0.0.1", PGDATABASE: "postgres", PGTESTNOSSL: "true" },
    server: { name: "postgres", portVariable: "PGPORT" },
  },
  {
    name: "undici",
    packages: ["@fastify/busboy@3.2.0", "@matteo.collina/tspl@0.2.0", "@metcoder95/https-pem@1.0.0"].concat(
      ["@sinonjs/fake-timers@12.0.0", "abort-controller@3.0.0", "cross-env@10.0.0", "dns-packet@5.4.0"],
      ["esbuild@0.27.3", "fast-check@4.1.1", "jsondiffpatch@0.7.3", "node-forge@1.3.1", "proxy@2.1.1"],
      ["ws@8.18.1"],
    ),
    // Its own scripts do so: generated keys, and the file that is Node's fetch.
    setUp: [
      ["-e", "require('@metcoder95/https-pem/install')"],
      [ESBUILD, "index-fetch.js", "--outfile=undici-fetch.js", "--define:esbuildDetection=1", ...BUNDLE],
    ],
    files: /^test\/(?!(autobahn|fixtures|fuzzing|imports|jest|types|utils|web-platform-tests)\/).*\.js$/,
    run: (files) => ["--expose-gc", TAP, ...files],
  },
  {
    name: "ws",
    packages: ["mocha@8.4.0"],
    files: /^test\/[^/]*\.test\.js$/,
    run: (files) => [MOCHA, "--reporter", "tap", "--throw-deprecation", ...files],
  },
];

/** The columns, each with Node's flags. */
const COLUMNS = { without: [], under: ["--require", REGISTER] };

/** Gives a source tree what its tests need. */
export function prepareSuite({ packages, setUp = [] }, folder) {
  const modules = path.join(folder, "node_modules");
  const fetched = fetchVersions(`suite-${path.basename(folder)}`, packages);
  rmSync(modules, { recursive: true, force: true });
  symlinkSync(path.join(fetched, "node_modules"), modules);
  for (const args of setUp) execFileSync(process.execPath, args, { cwd: folder, stdio: "ignore" });
}

/**
 * Runs all files of a prepared suite in both columns, with the server's port in `environment`, and prints a row for each
 * process. Returns how many tests passed in each, the names of the tests that pass without register and not under it, and
 * the files that did not end without it: those are not compared.
 */
export async function runSuite(suite, folder, environment = {}) {
  const names = readdirSync(folder, { recursive: true })
    .filter((name) => suite.files.test(name))
    .sort();
  const result = { files: names.length, without: 0, under: 0, ours: [], killed: [] };
  const groups = suite.together ? [names] : names.map((name) => [name]);
  // Without a server in common, each process has a network of its own, and any port.
  const lanes = suite.server ? 1 : os.availableParallelism();
  const ground = { folder, environment, prefix: suite.server ? [] : ALONE };
  const runLane = async () => {
    for (let files = groups.shift(); files; files = groups.shift())
      addResult(result, files, await compareColumns(suite, files, ground));
  };
  await Promise.all(Array.from({ length: lanes }, runLane));
  return result;
}

/** Runs some files in both columns, and again under register while a test is missing there. */
async function compareColumns(suite, files, ground) {
  const without = await runColumn("without", suite, files, ground);
  const under = await runColumn("under", suite, files, ground);
  let tries = 1;
  // The time of a file that hangs by itself would pass once more for each try.
  for (; tries < TRIES && !without.isKilled && listMissing({ without, under }).length > 0; tries++)
    mergeCounts(under.counts, (await runColumn("under", suite, files, ground)).counts);
  return { without, under, tries };
}

async function runColumn(column, { run, env = {}, timeoutMs = TIMEOUT_MS }, files, ground) {
  const [program, ...args] = [...ground.prefix, process.execPath, ...COLUMNS[column], ...run(files)];
  const { status, stdout } = await runProgram(program, args, {
    cwd: ground.folder,
    env: { ...process.env, NODE_OPTIONS: "", ...env, ...ground.environment },
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  return { isKilled: status === null, counts: countPassed(stdout, status) };
}

function addResult(result, files, { without, under, tries }) {
  const name = files.length === 1 ? files[0] : `${files.length} files`;
  const missing = listMissing({ without, under });
  result.without += sum(without.counts);
  result.under += sum(under.counts);
  if (without.isKilled) result.killed.push(name);
  else result.ours.push(...missing.map((test) => `${name}: ${test}`));
  const remark = without.isKilled
    ? "did not end by itself without register"
    : `${tries} tries, ${missing.length} missing`;
  console.log(`| ${name} | ${sum(without.counts)} | ${sum(under.counts)} | ${remark} |`);
}

/** Runs a program to its end, or for so long, when its status is null. What it prints to stderr is no result. */
function runProgram(file, args, options) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { ...options, stdio: ["ignore", "pipe", "ignore"] });
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.on("close", (status) => resolve({ status, stdout }));
  });
}

/** How often a test of each name passed, by the lines of TAP ("ok 3 - NAME") and of pg ("NAME ✔"). */
function countPassed(stdout, status) {
  const counts = new Map();
  const lines = stdout.matchAll(/^ *(?:ok \d+ (?:- )?(?<tap>.*?)(?: # (?<directive>.*))?|(?<pg>.*) ✔)$/gm);
  for (const { groups } of lines)
    if (!groups.directive?.startsWith("SKIP")) add(counts, (groups.tap ?? groups.pg).trim());
  if (status === 0) add(counts, "the file's exit code");
  return counts;
}

function add(counts, name) {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** Keeps the higher count of each name. */
function mergeCounts(counts, others) {
  for (const [name, count] of others) counts.set(name, Math.max(count, counts.get(name) ?? 0));
}

function listMissing({ without, under }) {
  return [...without.counts]
    .filter(([name, count]) => (under.counts.get(name) ?? 0) < count)
    .map(([name]) => name);
}

function sum(counts) {
  return [...counts.values()].reduce((all, count) => all + count, 0);
}
