// The part `sanitizers` of check:deep: the core's tests, and the tests of the addon in Node, built with the sanitizers of
// both compilers, whose runtimes are loaded before Node; and the core's tests under valgrind. A control shows for each
// sanitizer that it finds a fault.
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { IN_NAMESPACE, runCommand } from "../run-command.mjs";

const ARCH = process.arch === "arm64" ? "aarch64" : "x86_64";
/** What uses the addon most. The programs that a test starts have the runtime too: a browser would never end. */
const TESTS = ["test/socket/", "test/loop/", "test/packets/packets.test.ts"];
/** A program that enters a namespace ends under TSan, and time is short there: these start none and measure none. */
const TESTS_OF_THREADS = [
  ...["socket.test.ts", "pair.test.ts", "transfer.test.ts", "socket.closing.test.ts"].map(
    (name) => `test/socket/${name}`,
  ),
  ...["test/loop/reconnect.test.ts", "test/loop/reconnect.bursts.test.ts"],
];
/** They start Node with a library of their own before it, or without our environment. */
const WITHOUT = ["test/socket/native.faults.test.ts", "test/socket/listen-fds.test.ts"];
/** What valgrind cannot run: its own write(2) is refused too, it is slow, and it does not know pidfd_getfd(2). */
const NOT_BY_VALGRIND = [
  "a_reactor_that_cannot_write_stops_all_the_same",
  "an_attempt_without_a_reply_is_counted_when_the_burst_stops",
  "two_sockets_that_meet_open_simultaneously",
  "a_joined_socket_is_disconnected_through_its_process",
];
const FUZZ = "test/support/programs/fuzz.mjs";
const CALLS = 20_000;
/** Node itself keeps memory at its end; a leak is ours if the addon is in its stack. */
const OWN_FRAME = /selfconnect\.node/;

/** `fault` is what the control does, `environment` what the runtime is told in Node, whose own code it cannot judge. */
const MEMORY = {
  sanitize: "address,undefined",
  fault: "int *a = new int[2]; delete[] a; return a[argc];",
  environment: "ASAN_OPTIONS=detect_leaks=",
  tests: [...TESTS, ...WITHOUT.map((name) => `--exclude=${name}`)],
};
const RACE = {
  sanitize: "thread",
  fault: "int a = 0; std::thread t([&] { a = 1; }); a = 2; t.join(); return a & 0;",
  environment: "TSAN_OPTIONS=ignore_noninstrumented_modules=",
  tests: TESTS_OF_THREADS,
};
const KINDS = [
  {
    name: "gcc: address, undefined, leak",
    compiler: "g++",
    libraries: ["libasan.so", "libubsan.so"],
    ...MEMORY,
  },
  {
    name: "clang: address, undefined, leak",
    compiler: "clang++",
    libraries: [`libclang_rt.asan-${ARCH}.so`],
    ...MEMORY,
  },
  { name: "gcc: thread", compiler: "g++", libraries: ["libtsan.so"], ...RACE },
  { name: "clang: thread", compiler: "clang++", ...RACE },
];

export async function attackBySanitizers({ folder, seed }) {
  const rows = [];
  const red = [];
  const skipped = [];
  for (const kind of KINDS) {
    const reason = findLack(kind);
    if (reason) {
      skipped.push(`${kind.name}: ${reason}`);
      continue;
    }
    const out = path.resolve(folder, "sanitizers", kind.name.replace(/\W+/g, "-"));
    mkdirSync(out, { recursive: true });
    const row = { core: "", tests: "", calls: "" };
    red.push(...(await testKind({ ...kind, out, seed }, row)).map((one) => `${kind.name}: ${one}`));
    rows.push([kind.name, row.core, row.tests, row.calls]);
  }
  if (spawnSync("valgrind", ["--version"]).error) skipped.push("valgrind: apt-get install valgrind");
  else red.push(...(await testByValgrind(path.resolve(folder, "sanitizers", "plain"), rows)));
  return {
    facts: [["tools", rows.length]],
    head: ["tool", "the core's tests", "tests of the addon in Node", "random calls of the addon"],
    rows,
    red,
    skipped,
  };
}

function findLack({ compiler }) {
  if (spawnSync("cmake", ["--version"]).error) return "apt-get install cmake";
  if (!spawnSync(compiler, ["--version"]).error) return null;
  return `apt-get install ${compiler === "g++" ? "g++" : "clang libclang-rt-dev"}`;
}

/** Returns what is red, and fills the row of the table. */
async function testKind(kind, row) {
  const control = await runControl(kind);
  if (control) return [control];
  const isWithNode = kind.libraries !== undefined;
  const built = await build(kind, isWithNode ? ["core_test", "selfconnect"] : ["core_test"]);
  if (built) return [built];
  const red = [];
  const core = await runCommand([...IN_NAMESPACE, path.join(kind.out, "core_test")]);
  if (core.status === 0) row.core = countCore(core.output);
  else red.push(`core: ${core.output.slice(-800)}`);
  if (isWithNode) red.push(...(await testAddon(kind, row)));
  return red;
}

/** A program with a fault, built alike: returns why it is not found. */
async function runControl({ compiler, sanitize, fault, out }) {
  const source = path.join(out, "control.cc");
  const program = path.join(out, "control");
  writeFileSync(source, `#include <thread>\nint main(int argc, char **) { ${fault} }\n`);
  const flags = [`-fsanitize=${sanitize}`, "-fno-sanitize-recover=all", "-g1", "-pthread", "-std=c++20"];
  const built = await runCommand([compiler, ...flags, "-o", program, source]);
  if (built.status !== 0) return `the control was not built: ${built.output.slice(-400)}`;
  const { output } = await runCommand([program]);
  return /ERROR: AddressSanitizer|WARNING: ThreadSanitizer/.test(output)
    ? null
    : `the control's fault was not found: ${output.slice(-400)}`;
}

async function build({ compiler, sanitize, out }, targets) {
  for (const target of targets) {
    const cmake = ["node_modules/.bin/cmake-js", "build", "--directory", "native", "--target", target];
    const options = [
      ...["--log-level", "error", "--out", out, `--CDCMAKE_CXX_COMPILER=${compiler}`],
      `--CDSANITIZE=${sanitize}`,
    ];
    const { status, output } = await runCommand([...cmake, ...options]);
    if (status !== 0) return `${target} was not built: ${output.slice(-800)}`;
  }
  return null;
}

function countCore(output) {
  return output.match(/^ok /gm).length;
}

/** Our tests and random calls in Node, in a tree whose addon is this one. */
async function testAddon({ compiler, libraries, environment, tests, out, seed }, row) {
  const tree = path.join(out, "tree");
  makeTree(tree, path.join(out, "Release", "selfconnect.node"));
  const paths = libraries.map((name) =>
    execFileSync(compiler, [`-print-file-name=${name}`])
      .toString()
      .trim(),
  );
  // Setting up the namespace needs no runtime, which would look for leaks of `ip`.
  const preload = [...IN_NAMESPACE, "env", `LD_PRELOAD=${paths.join(" ")}`];
  const report = path.join(out, "tests.json");
  const vitest = ["node_modules/vitest/vitest.mjs", "run", "--reporter=json", `--outputFile=${report}`];
  const run = (args, value) =>
    runCommand([...preload, `${environment}${value}`, process.execPath, ...args], { cwd: tree });
  const red = [];
  const tested = await run([...vitest, ...tests], environment === MEMORY.environment ? 0 : 1);
  const found = findReport(tested.output);
  if (found) red.push(`tests: ${found}`);
  const { numPassedTests, testResults } = JSON.parse(readFileSync(report, "utf8"));
  row.tests = numPassedTests;
  const results = testResults.flatMap((file) => file.assertionResults);
  for (const { status, fullName, failureMessages } of results)
    if (status === "failed") red.push(`${fullName}: ${failureMessages.join(" ").slice(0, 400)}`);
  const fuzzed = await run([FUZZ, String(seed), String(CALLS)], 1);
  const leak = fuzzed.output.split(/\n\n/).find((one) => /leak of/.test(one) && OWN_FRAME.test(one));
  const isEnded = fuzzed.output.includes('"functions"');
  if (leak || !isEnded) red.push(`random calls: ${(leak ?? fuzzed.output).slice(-800)}`);
  else row.calls = CALLS;
  return red;
}

/** The first report of a sanitizer that names the addon. */
function findReport(output) {
  const reports = output.split(/(?=ERROR: AddressSanitizer|WARNING: ThreadSanitizer|runtime error: )/);
  return reports
    .slice(1)
    .find((one) => OWN_FRAME.test(one))
    ?.slice(0, 1500);
}

/** The files of this tree, with another addon. */
function makeTree(tree, addon) {
  rmSync(tree, { recursive: true, force: true });
  const files = execFileSync("git", ["ls-files", "-z"]).toString().split("\0").filter(Boolean);
  for (const file of files) {
    const to = path.join(tree, file);
    mkdirSync(path.dirname(to), { recursive: true });
    copyFileSync(file, to);
  }
  cpSync("dist", path.join(tree, "dist"), { recursive: true, preserveTimestamps: true });
  symlinkSync(path.resolve("node_modules"), path.join(tree, "node_modules"));
  mkdirSync(path.join(tree, "build", "Release"), { recursive: true });
  cpSync("build/.made-from", path.join(tree, "build", ".made-from"));
  cpSync(addon, path.join(tree, "build", "Release", "selfconnect.node"));
}

async function testByValgrind(out, rows) {
  const built = await build({ compiler: "g++", sanitize: "", out }, ["core_test"]);
  if (built) return [`valgrind: ${built}`];
  const valgrind = ["valgrind", "--leak-check=full", "--error-exitcode=99", "--quiet"];
  const test = [path.join(out, "core_test"), ...NOT_BY_VALGRIND];
  const { status, output } = await runCommand([...IN_NAMESPACE, ...valgrind, ...test]);
  rows.push(["valgrind: memory and leaks", status === 0 ? countCore(output) : "", "", ""]);
  return status === 0 ? [] : [`valgrind: exit code ${status}: ${output.slice(-1500)}`];
}
