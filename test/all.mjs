// npm test: every check, step by step; npm test -- FILTER…: the tests in such files or folders alone. Plain JavaScript,
// because it runs before anything else has been checked.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { IN_NAMESPACE, runCommand } from "./support/run-command.mjs";

const bin = (name) => path.join("node_modules", ".bin", name);
const filters = process.argv.slice(2);
const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-test-"));
let passed = 0;
/** What failed and what was skipped, each with its reason, said again at the end, because the output is long. */
const failures = [];
const skips = [];
/** Rooms that one vitest tests, because its start takes seconds. The longest come first: the lanes end together. */
const GROUPS = [
  ["lab", "report"],
  ["ports"],
  ["cli"],
  ["benchmarks"],
  ["audit", "packets"],
  ["socket", "loop"],
  ["stories"],
];

/** What is put before the commands of each lane. */
const prefixes = filters.length > 0 ? [[]] : lanes();

try {
  process.env.TRANSFORMS = path.join(folder, "transforms");
  // tsc would leave what it compiled in the temporary folder.
  process.env.NODE_DISABLE_COMPILE_CACHE = "1";
  const steps = filters.length > 0 ? [vitest("tests", filters)] : [...checks(), ...coreTests(), ...tests()];
  await Promise.all(prefixes.map((prefix) => runLane(steps, prefix)));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`\n— all: ${(performance.now() / 1000).toFixed(0)} s\n`);
for (const failure of failures) console.log(`failed: ${failure}`);
for (const skip of skips) console.log(`skipped: ${skip}`);
const skipped = skips.length > 0 ? `, ${skips.length} skipped` : "";
console.log(`${passed} passed, ${failures.length} failed${skipped}`);
process.exitCode = failures.length > 0 ? 1 : 0;

/**
 * Tests share one host's ports and its one sequence of local ports, so
 * every lane but the first has a namespace of its own. Tests also wait for processes and kernels, so four lanes keep
 * two processors at work.
 */
function lanes() {
  const [command, ...args] = IN_NAMESPACE;
  if (os.availableParallelism() > 1 && spawnSync(command, [...args, "true"]).status === 0) {
    return [[], IN_NAMESPACE, IN_NAMESPACE, IN_NAMESPACE];
  }
  console.log("one step at a time: more need 2 processors, unshare, ip (iproute2) and permission");
  return [[]];
}

/** Steps one after another, until none is left. A namespace of its own has no way to a registry. */
async function runLane(steps, prefix) {
  const isFit = ({ needsNetwork }) => !needsNetwork || prefix.length === 0;
  for (;;) {
    const at = steps.findIndex(isFit);
    if (at < 0) return;
    const [next] = steps.splice(at, 1);
    await runStep(next, prefix);
  }
}

/** A step's output is printed when it has ended, because that of two lanes would mix; that of the only lane as it comes. */
async function runStep({ name, command, outcomes }, prefix) {
  const began = performance.now();
  const env = { ...process.env, OUTCOMES: outcomes };
  const isAlone = prefixes.length === 1;
  const onText = isAlone ? (text) => process.stdout.write(text) : undefined;
  const { status, output } = await runCommand([...prefix, ...command], { env, onText });
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(`\n— ${name}: ${seconds} s\n${isAlone ? "" : output}`);
  const known = failures.length;
  if (outcomes && existsSync(outcomes)) countTests(outcomes);
  else {
    if (status === 0) passed++;
    const reasons = [...output.matchAll(/^skipped: (.+)$/gm)].map(([, reason]) => `${name} — ${reason}`);
    skips.push(...reasons);
  }
  if (status !== 0 && failures.length === known) failures.push(name);
}

function checks() {
  return [
    { name: "formatting and lint", command: [bin("biome"), "check", "--error-on-warnings", "."] },
    { name: "formatting of C++", command: [bin("clang-format"), "--dry-run", "--Werror", ...native()] },
    { name: "types", command: ["node_modules/typescript-7/bin/tsc", "-p", "test"] },
  ];
}

/** The core's tests under gcc's or clang's sanitizers, built from native/CMakeLists.txt by cmake-js. */
function coreTests() {
  if (spawnSync("cmake", ["--version"]).error) {
    skips.push("core tests — cmake is missing (Debian: apt-get install cmake)");
    return [];
  }
  const out = path.join("build", "asan");
  const target = "--directory native --target core_test --log-level error";
  const build = `${bin("cmake-js")} build ${target} --out ${out} --CDSANITIZE=address,undefined`;
  return [
    {
      name: "core tests, -fsanitize=address,undefined",
      command: ["sh", "-c", `${build} && ${path.join(out, "core_test")}`],
    },
  ];
}

/** vitest: tidy and every *.test.ts below test/, some rooms at a time. */
function tests() {
  const isTest = (file) => file.endsWith(".test.ts");
  const entries = readdirSync("test", { withFileTypes: true });
  const rooms = entries
    .filter((entry) => entry.isDirectory() && readdirSync(path.join("test", entry.name)).some(isTest))
    .map(({ name }) => name);
  const others = rooms.filter((room) => !GROUPS.flat().includes(room));
  const loose = entries.filter(({ name }) => isTest(name)).map(({ name }) => path.join("test", name));
  return [
    // The package is installed and the clone is built here.
    { ...vitest("test", loose), needsNetwork: true },
    ...[...GROUPS, others].map((group) =>
      vitest(
        `test/{${group}}`,
        group.map((room) => `test/${room}/`),
      ),
    ),
  ];
}

function vitest(name, files) {
  const outcomes = path.join(folder, `${name.replace(/\W+/g, "-")}.jsonl`);
  const reporters = ["--reporter=default", "--reporter=./test/support/outcomes.mjs"];
  return { name, command: [bin("vitest"), "run", ...reporters, ...files], outcomes };
}

function countTests(outcomes) {
  const lines = readFileSync(outcomes, "utf8").trimEnd().split("\n");
  for (const { state, name, reason, messages } of lines.map((line) => JSON.parse(line))) {
    if (state === "passed") passed++;
    else if (state === "failed") failures.push(`${name}: ${messages.join("\n")}`);
    else skips.push(`${name} — ${reason ?? "no reason given"}`);
  }
}

function native() {
  const folders = ["native/core", "native/binding", "test/native"];
  return folders.flatMap((one) =>
    readdirSync(one)
      .filter((name) => /\.(cc|h)$/.test(name))
      .map((name) => `${one}/${name}`),
  );
}
