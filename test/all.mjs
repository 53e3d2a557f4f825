// npm test: every check, step by step. Plain JavaScript, because it runs before anything else has been checked.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const bin = (name) => path.join("node_modules", ".bin", name);
const isDeep = process.argv.includes("--deep");
const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-test-"));
const counts = { passed: 0, failed: 0, skipped: 0 };
/** The names of the steps that failed. */
const failures = [];

try {
  step("formatting and lint", bin("biome"), ["check", "--error-on-warnings", "."]);
  step("formatting of C++", bin("clang-format"), ["--dry-run", "--Werror", ...native()]);
  step("types", bin("tsc"), ["-p", "test"]);
  coreTests("address,undefined", "asan");
  if (isDeep) {
    coreTests("thread", "tsan");
    // Its undefined-behaviour sanitizer also checks what gcc's does not, such as references to packed members.
    coreTests("address,undefined", "clang", "clang++");
  }
  tests();
  if (isDeep) step("mutation testing: docs/mutation.md", bin("stryker"), ["run"]);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const name of failures) console.log(`failed: ${name}`);
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = counts.failed > 0 ? 1 : 0;

/** One program that passes or fails as a whole. */
function step(name, command, args) {
  console.log(`\n— ${name}`);
  const { status, error } = spawnSync(command, args, { stdio: "inherit" });
  if (error) console.error(error.message);
  count(status === 0 ? "passed" : "failed");
  if (status !== 0) failures.push(name);
  return status === 0;
}

/** The core's tests under the sanitizers, built from native/CMakeLists.txt by cmake-js, with `compiler` if given. */
function coreTests(sanitizers, name, compiler) {
  const missing = [["cmake", "cmake"], ...(compiler ? [[compiler, "clang"]] : [])].find(isMissing);
  if (missing) {
    const [tool, debianPackage] = missing;
    const fix = `Debian: apt-get install ${debianPackage}`;
    console.log(`\n— core tests, ${name}: skipped, because ${tool} is missing (${fix})`);
    return count("skipped");
  }
  const out = path.join("build", name);
  const build = [
    "build",
    "--directory",
    "native",
    "--out",
    out,
    "--target",
    "core_test",
    "--log-level",
    "error",
  ];
  const options = [`--CDSANITIZE=${sanitizers}`, ...(compiler ? [`--CDCMAKE_CXX_COMPILER=${compiler}`] : [])];
  const title = `core tests, ${compiler ?? "c++"} -fsanitize=${sanitizers}`;
  const built = step(`${title}: build`, bin("cmake-js"), [...build, ...options]);
  if (built) step(title, path.join(out, "core_test"), []);
}

function isMissing([tool]) {
  return spawnSync(tool, ["--version"]).error !== undefined;
}

/** vitest: tidy and every *.test.ts below test/; with --deep every *.deep.ts as well. */
function tests() {
  const report = path.join(folder, "vitest.json");
  const args = ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  if (isDeep) process.env.DEEP = "1";
  step("tests", bin("vitest"), args);
  if (!existsSync(report)) return;
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, "utf8"));
  const results = testResults.flatMap((file) => file.assertionResults);
  counts.passed += numPassedTests;
  counts.failed += numFailedTests;
  counts.skipped += results.filter((one) => one.status === "skipped").length;
}

function count(verdict) {
  counts[verdict]++;
}

function native() {
  const folders = ["native/core", "native/binding", "test/native"];
  return folders.flatMap((one) =>
    readdirSync(one)
      .filter((name) => /\.(cc|h)$/.test(name))
      .map((name) => `${one}/${name}`),
  );
}
