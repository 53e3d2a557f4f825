// npm run check:wide -- suites --sources DIR: the tests of other people's clients, from their source trees below DIR,
// under the guard and without it. npm's packages do not have them. What the tests need npm fetches, at exact versions.
import { execFileSync } from "node:child_process";
import { readdirSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";
import { runCommand } from "./run-command.mjs";
import { fetchVersions, REGISTER } from "./runtimes.mjs";

/** One file may test for long. */
const TIMEOUT_MS = 180_000;
/** A file that ends differently runs again: a test has failed where it never passes. */
const TRIES = 3;

const CHAI = ["chai@4.3.6", "chai-as-promised@7.1.1", "server-destroy@1.0.1", "sinon@13.0.1", "uuid@9.0.0"];
const MOCHA = "node_modules/mocha/bin/_mocha";
const TAP = "--test-reporter=tap";

/**
 * Each with its name below the folder of sources, the packages that its tests need, which files they are, what runs one
 * of them (Node's flags, then the program), and the server that they connect to.
 */
export const SUITES = [
  {
    name: "ioredis",
    packages: ["ioredis@6.0.0", "mocha@11.7.6", "ts-node@10.9.2", "typescript@5.3.3", ...CHAI],
    files: /^test\/(unit|functional)\/.*\.ts$/,
    run: (file) => [MOCHA, "--reporter", "tap", "test/helpers/global.ts", file],
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
    run: (file) => ["--require", "esbuild-register", TAP, file],
  },
  {
    name: "pg",
    packages: ["pg@8.23.0", "async@2.6.4", "bluebird@3.7.2", "co@4.6.0", "pg-copy-streams@0.3.0"],
    files: /^test\/(unit|integration)\/.*-tests\.js$/,
    run: (file) => [file],
    env: { PGUSER: "tester", PGHOST: "127.0.0.1", PGDATABASE: "postgres", PGTESTNOSSL: "true" },
    server: { name: "postgres", portVariable: "PGPORT" },
  },
  {
    name: "undici",
    packages: ["@fastify/busboy@3.2.0", "@matteo.collina/tspl@0.2.0", "@metcoder95/https-pem@1.0.0"].concat(
      ["@sinonjs/fake-timers@12.0.0", "abort-controller@3.0.0", "cross-env@10.0.0", "dns-packet@5.4.0"],
      ["fast-check@4.1.1", "jsondiffpatch@0.7.3", "node-forge@1.3.1", "proxy@2.1.1", "ws@8.18.1"],
    ),
    // Its generated keys are the package's own step after its installation.
    setUp: ["-e", "require('@metcoder95/https-pem/install')"],
    files: /^test\/((fetch|websocket|eventsource|interceptors|cache|cookie|node-test)\/)?[^/]*\.js$/,
    run: (file) => ["--expose-gc", TAP, file],
  },
  {
    name: "ws",
    packages: ["mocha@8.4.0"],
    files: /^test\/[^/]*\.test\.js$/,
    run: (file) => [MOCHA, "--reporter", "tap", "--throw-deprecation", file],
  },
];

/** The columns, each with Node's flags. */
const COLUMNS = { without: [], under: ["--require", REGISTER] };

/** Gives a source tree what its tests need. */
export function prepareSuite({ packages, setUp }, folder) {
  const modules = path.join(folder, "node_modules");
  const fetched = fetchVersions(`suite-${path.basename(folder)}`, packages);
  rmSync(modules, { recursive: true, force: true });
  symlinkSync(path.join(fetched, "node_modules"), modules);
  if (setUp) execFileSync(process.execPath, setUp, { cwd: folder });
}

/**
 * Runs all files of a prepared suite in both columns, with the server's port in `environment`. Returns how many tests passed
 * in each, and the names of the tests that pass without register and not under it.
 */
export async function runSuite({ files, run, env = {} }, folder, environment = {}) {
  const names = readdirSync(folder, { recursive: true }).filter((name) => files.test(name));
  const result = { files: names.length, without: 0, under: 0, ours: [] };
  for (const name of names.sort()) {
    const passed = { without: new Map(), under: new Map() };
    for (let tries = 0; tries === 0 || (tries < TRIES && listMissing(passed).length > 0); tries++) {
      for (const [column, flags] of Object.entries(COLUMNS)) {
        const command = [process.execPath, ...flags, ...run(name)];
        const options = { cwd: folder, env: { ...process.env, NODE_OPTIONS: "", ...env, ...environment } };
        const { status, output } = await runCommand(command, {
          ...options,
          timeout: TIMEOUT_MS,
          killSignal: "SIGKILL",
        });
        mergeCounts(passed[column], countPassed(output, status));
      }
    }
    for (const column of Object.keys(COLUMNS)) result[column] += sum(passed[column]);
    result.ours.push(...listMissing(passed).map((test) => `${name}: ${test}`));
  }
  return result;
}

/** How often a test of each name passed, by the lines of TAP ("ok 3 - NAME") and of pg ("NAME ✔"). */
function countPassed(output, status) {
  const counts = new Map();
  const lines = output.matchAll(/^ *(?:ok \d+ (?:- )?(?<tap>.*?)(?: # .*)?|(?<pg>.*) ✔)$/gm);
  for (const { groups } of lines) add(counts, (groups.tap ?? groups.pg).trim());
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
  return [...without].filter(([name, count]) => (under.get(name) ?? 0) < count).map(([name]) => name);
}

function sum(counts) {
  return [...counts.values()].reduce((all, count) => all + count, 0);
}
