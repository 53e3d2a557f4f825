// npm test: every check, step by step. Plain JavaScript, because it runs before anything else has been checked.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { IN_NAMESPACE, runCommand } from "./support/run-command.mjs";

const bin = (name) => path.join("node_modules", ".bin", name);
const isDeep = process.argv.includes("--deep");
const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-test-"));
const counts = { passed: 0, failed: 0, skipped: 0 };
/** What failed: the names of steps and tests, said again at the end, because the output is long. */
const failures = [];
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

try {
  process.env.TRANSFORMS = path.join(folder, "transforms");
  if (isDeep) process.env.DEEP = "1";
  const steps = [...checks(), ...coreTests(), ...tests()];
  if (isDeep) steps.push({ name: "mutation testing: docs/mutation.md", command: [bin("stryker"), "run"] });
  await Promise.all(lanes().map((prefix) => runLane(steps, prefix)));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const name of failures) console.log(`failed: ${name}`);
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = counts.failed > 0 ? 1 : 0;

/**
 * What is put before the commands of each lane. Tests share one host's ports and its one sequence of local ports, so
 * every lane but the first has a namespace of its own. Tests also wait for processes and kernels, so four lanes keep
 * two processors at work. The deep checks measure, so they have the machine for themselves.
 */
function lanes() {
  if (isDeep) return [[]];
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

/** A step's output is printed when it has ended: that of two lanes would mix. */
async function runStep({ name, command, report }, prefix) {
  const began = performance.now();
  const { status, output } = await runCommand([...prefix, ...command]);
  console.log(`\n— ${name}: ${((performance.now() - began) / 1000).toFixed(0)} s\n${output}`);
  if (status !== 0) failures.push(name);
  if (report && existsSync(report)) countTests(report);
  else counts[status === 0 ? "passed" : "failed"]++;
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
    console.log("\n— core tests: skipped, because cmake is missing (Debian: apt-get install cmake)");
    counts.skipped++;
    return [];
  }
  const out = path.join("build", "asan");
  const target = "--directory native --target core_test --log-level error";
  const build = `${bin("cmake-js")} build ${target} --out ${out} --CDSANITIZE=address,undefined`;
  return [
    {
      name: "core tests, -fsanitize=address,undefined",
      command: ["sh", "-c", `${build} && ${path.join(out, "core_test")}`],
      needsNetwork: true, // The headers of Node are fetched at first use.
    },
  ];
}

/** vitest: tidy and every *.test.ts below test/, some rooms at a time; with --deep every *.deep.ts as well. */
function tests() {
  const isTest = (file) => file.endsWith(".test.ts") || (isDeep && file.endsWith(".deep.ts"));
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

function vitest(name, filters) {
  const report = path.join(folder, `${name.replace(/\W+/g, "-")}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  return { name, command: [bin("vitest"), "run", ...reporters, ...filters], report };
}

function countTests(report) {
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, "utf8"));
  const results = testResults.flatMap((file) => file.assertionResults);
  for (const { status, fullName, failureMessages } of results) {
    if (status === "failed") failures.push(`${fullName}: ${failureMessages.join("\n")}`);
  }
  counts.passed += numPassedTests;
  counts.failed += numFailedTests;
  counts.skipped += results.filter((one) => one.status === "skipped").length;
}

function native() {
  const folders = ["native/core", "native/binding", "test/native"];
  return folders.flatMap((one) =>
    readdirSync(one)
      .filter((name) => /\.(cc|h)$/.test(name))
      .map((name) => `${one}/${name}`),
  );
}
