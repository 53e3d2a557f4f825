// npm run check:deep [PART,…] [--minutes N] [--seed S] [--report] [--only TEXT]: what takes minutes. `tests`: every
// *.deep.ts, or with --only those files whose path has the text.
// `sanitizers`: the core and the addon under those of two compilers, and valgrind. The other parts attack: `faults` lets
// every system call of the addon fail in every way, `commands` each one in every command; `fuzz` gives it random values
// and bytes; `races` ends work at random moments; `exhaustion` takes things away; `crash` kills commands; `soak` and
// `promise` run the loop and the guard. These two, `fuzz` and each of three deep tests take about --minutes (default 1).
// `mutation`, docs/mutation.md, takes hours, and runs only where it is named. Without a name all but `mutation` run, and
// each writes its row and its section of docs/reliability.md when it ends; --report makes parts that are named do so.
// Needs root, as it makes namespaces.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { attackByCommands } from "./support/reliability/commands.mjs";
import { attackByCrash } from "./support/reliability/crash.mjs";
import { attackByExhaustion } from "./support/reliability/exhaustion.mjs";
import { attackByFaults } from "./support/reliability/faults.mjs";
import { attackByFuzz } from "./support/reliability/fuzz.mjs";
import { keepPromise } from "./support/reliability/promise.mjs";
import { attackByRaces } from "./support/reliability/races.mjs";
import { drawPlots, PICTURE, renewPage } from "./support/reliability/report.mjs";
import { attackBySanitizers } from "./support/reliability/sanitizers.mjs";
import { soak } from "./support/reliability/soak.mjs";
import { readHelp } from "./support/run-command.mjs";
import { runTests } from "./support/run-tests.mjs";

const FOLDER = path.join("build", "reliability");
const PAGE = path.join("docs", "reliability.md");

/** In the order of the page. Each takes {folder, seed, minutes, random}, and returns the figures of report.mjs. */
const PARTS = {
  faults: attackByFaults,
  commands: attackByCommands,
  fuzz: attackByFuzz,
  races: attackByRaces,
  exhaustion: attackByExhaustion,
  crash: attackByCrash,
  sanitizers: attackBySanitizers,
  soak,
  promise: keepPromise,
  tests: runDeepTests,
  mutation: testMutants,
};
/** These take --minutes, or have tests that do. */
const TIMED = new Set(["fuzz", "soak", "promise", "tests"]);
/** They are longer with DEEP. */
const LONGER_TESTS = ["test/stories/workers.test.ts", "test/docs.pages.test.ts"];

const { values: flags, positionals } = readArguments();
const names = positionals.flatMap((list) => list.split(","));
const unknown = names.find((name) => !Object.hasOwn(PARTS, name));
if (unknown) endUsage(`no part ${unknown}: use ${Object.keys(PARTS).join(", ")}`);
if (flags.only !== undefined && !names.includes("tests")) endUsage("--only is for the part tests");
if (flags.help) {
  console.log(readHelp(import.meta.url));
  process.exit(0);
}
if (spawnSync("unshare", ["--net", "true"]).status !== 0)
  endUsage(
    "the parts need network namespaces of their own: run them as root, with unshare (Debian: util-linux)",
  );

mkdirSync(FOLDER, { recursive: true });
const seed = flags.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(flags.seed);
const minutes = Number(flags.minutes ?? 1);
const isWhole = names.length === 0;
let reds = 0;
for (const name of isWhole ? Object.keys(PARTS).filter((part) => part !== "mutation") : names) {
  const figures = await runPart(name);
  reds += figures.red.length;
  if (isWhole || flags.report) writePage(figures);
}
process.exitCode = reds > 0 ? 1 : 0;

async function runPart(name) {
  console.log(`\n— ${name} (seed ${seed})`);
  const began = performance.now();
  const figures = await PARTS[name]({ folder: FOLDER, seed, minutes, only: flags.only });
  const seconds = Math.round((performance.now() - began) / 1000);
  for (const [fact, value] of figures.facts) console.log(`${fact}: ${value}`);
  for (const red of figures.red) console.log(`red: ${red}`);
  for (const skipped of figures.skipped ?? []) console.log(`skipped: ${skipped}`);
  console.log(`${name}: ${seconds} s, ${figures.red.length} red`);
  const timed = TIMED.has(name) ? ` --minutes ${minutes}` : "";
  const command = `npm run check:deep -- ${name}${timed} --seed ${seed}`;
  const [load] = os.loadavg();
  return { part: name, date: new Date().toISOString().slice(0, 10), command, seconds, load, ...figures };
}

/** Every test that is for hours when nobody waits. They measure, so they run one after another, each with its row. */
async function runDeepTests({ seed, minutes, only = "" }) {
  const env = { ...process.env, DEEP: "1", SEED: String(seed), MINUTES: String(minutes), NO_COLOR: "1" };
  const [rows, red, skips] = [[], [], []];
  const files = findDeepTests();
  for (const file of files.filter((name) => name.includes(only))) {
    const began = performance.now();
    const { passed, failed, skipped } = await runTests([file], {
      env,
      onText: (text) => process.stdout.write(text),
    });
    const seconds = Math.round((performance.now() - began) / 1000);
    rows.push([`\`${file}\``, seconds, passed, failed.length, skipped.length]);
    red.push(...failed);
    skips.push(...skipped);
  }
  if (rows.length === 0) endUsage(`no deep test has ${only} in its path`);
  const head = ["test", "seconds", "passed", "red", "skipped"];
  return { facts: [], head, rows, files, red, skipped: skips };
}

function findDeepTests() {
  const found = readdirSync("test", { recursive: true }).filter((name) => name.endsWith(".deep.ts"));
  return [...found.map((name) => path.join("test", name)), ...LONGER_TESTS].sort();
}

/** Its thresholds decide the exit code: stryker.config.mjs. */
function testMutants() {
  const { status } = spawnSync("node_modules/.bin/stryker", ["run"], { stdio: "inherit" });
  return { facts: [["exit code", status]], red: status === 0 ? [] : ["the score is below its threshold"] };
}

function writePage(figures) {
  writeFileSync(PAGE, renewPage(readFileSync(PAGE, "utf8"), figures));
  if (figures.plots) writeFileSync(path.join("docs", PICTURE), drawPlots(figures.plots));
}

function readArguments() {
  const options = {
    help: { type: "boolean" },
    minutes: { type: "string" },
    only: { type: "string" },
    report: { type: "boolean" },
    seed: { type: "string" },
  };
  try {
    return parseArgs({ allowPositionals: true, options });
  } catch ({ message }) {
    return endUsage(message);
  }
}

function endUsage(message) {
  console.error(`${message}; see --help`);
  process.exit(2);
}
