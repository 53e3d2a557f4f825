// npm run check:wide [PART,…]: `runtimes`, the guard's contract on every runtime, which prints the table of
// docs/runtimes.md; `clients`, the story of every client in docs/clients.md; both at exact versions that npm fetches when
// this first runs. `platforms` compiles and checks the addon of every platform, `bundlers` runs the recipes of
// docs/bundling.md, and both make docs/platforms.md; `installs` takes the package from git, a folder and its own sources;
// `package` asks other people's tools about the packed package. These six are the default. `fleet` asks other hosts, which
// are of its own: real sshd in a network namespace, a queue with TLS and a user of Redis' ACL, and sixty workers of a
// queue in sixty namespaces. `containers` runs the lines of the guides for a Dockerfile, a container and a Pod, by podman,
// in an image of this Node; no registry is asked. `machines` runs our tests on machines that lack something, and makes docs/machines.md; `node
// --sources DIR` Node's own tests, DIR being its source tree (--node-tests REGEXP those with such names);
// `suites --sources DIR` the tests of other people's clients, from source trees below DIR (ioredis, mqtt, pg, undici, ws).
// --only NAME,… chooses clients, suites, machines or our test files. --here asks the Node that runs it, which npm test does. Plain
// JavaScript, as test/all.mjs.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { testBundlers } from "./support/bundlers.mjs";
import { fetchClients, readClients } from "./support/clients.mjs";
import { testAccess } from "./support/fleet-access.mjs";
import { testQueue } from "./support/fleet-wide.mjs";
import { installPacked, testInstalls } from "./support/installs.mjs";
import { testMachines } from "./support/machines.mjs";
import { runNodeTests } from "./support/node-tests.mjs";
import { fetchPackageTools, testPackage } from "./support/package-checks.mjs";
import { testPlatforms } from "./support/platforms.mjs";
import { readHelp } from "./support/run-command.mjs";
import {
  askByName,
  askContract,
  askInsides,
  askStrictly,
  fetchRuntime,
  RUNTIMES,
  runInNamespace,
  THIS_NODE,
} from "./support/runtimes.mjs";
import { prepareSuite, SUITES } from "./support/suites.mjs";

/** What each part runs. */
const PARTS = {
  runtimes: testRuntimes,
  clients: testClients,
  platforms: () => testFetched("platforms", testPlatforms),
  bundlers: () => testFetched("bundlers", testBundlers),
  installs: () => testFetched("installs", testInstalls),
  suites: testSuites,
  node: testNode,
  machines: testMachineKinds,
  package: testPacked,
  fleet: testFleet,
  containers: testContainers,
};
const DEFAULT_PARTS = ["runtimes", "clients", "platforms", "bundlers", "installs", "package"];
/** What a way in may do about a self-connect. "no" is a way in that the guard does not reach. */
const GUARDS = ["prevents", "detects"];
/** What the part `fleet` runs. */
const FLEET = ["test/lab/remote.wide.ts"];
/** The ephemeral range of a client's namespace: enough ports for a pool, few enough to meet the server's soon. */
const CLIENT_RANGE = "50000 50005";
/** That of a suite's and the fleet's namespace: the kernel's default. */
const SUITE_RANGE = "32768 60999";
const counts = { passed: 0, failed: 0, skipped: 0 };

const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    help: { type: "boolean" },
    here: { type: "boolean" },
    only: { type: "string" },
    sources: { type: "string" },
    "node-tests": { type: "string" },
  },
});
const only = flags.only?.split(",").filter(Boolean) ?? [];
const parts = positionals.flatMap((names) => names.split(","));
checkUsage();

if (flags.help) {
  console.log(readHelp(import.meta.url));
  process.exit(0);
}
if (spawnSync("unshare", ["--net", "true"]).status !== 0) {
  console.log(
    "check:wide needs a network namespace of its own: run it as root, with unshare (Debian: util-linux)",
  );
  process.exit(1);
}

if (flags.here) await testRuntime(THIS_NODE);
else for (const part of parts.length > 0 ? parts : DEFAULT_PARTS) await PARTS[part]();
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = counts.failed > 0 ? 1 : 0;

/** parseArgs(), with one line for a flag that there is not. */
function parseFlags(config) {
  try {
    return parseArgs(config);
  } catch ({ message }) {
    return endUsage(message);
  }
}

function checkUsage() {
  for (const part of parts) {
    if (!Object.hasOwn(PARTS, part)) endUsage(`no part ${part}: use ${Object.keys(PARTS).join(", ")}`);
    if (["node", "suites"].includes(part) && !flags.sources) endUsage(`${part} needs --sources DIR`);
  }
}

function endUsage(message) {
  console.error(`${message}; see --help`);
  process.exit(2);
}

async function testRuntimes() {
  const columns = [];
  for (const runtime of RUNTIMES) {
    const file = fetchOrSkip(runtime.name, () => fetchRuntime(runtime));
    if (file) columns.push(await testRuntime({ ...runtime, path: file }));
  }
  if (columns.length < RUNTIMES.length) return;
  const table = markdown(columns);
  console.log(`\n${table}\n`);
  check("docs/runtimes.md shows this table", readFileSync("docs/runtimes.md", "utf8").includes(table));
}

/** Runs a part, which reports by check() and skip(). What npm cannot fetch is a printed skip. */
async function testFetched(name, run) {
  console.log(`\n— ${name}`);
  try {
    await run(check, skip);
  } catch (error) {
    if (!error.message.includes("npm install")) throw error;
    skip(`${name}: npm cannot fetch it (${error.message.split("\n")[0]})`);
  }
}

/** What `fetch` returns; null, and a printed skip, where npm cannot fetch it. */
function fetchOrSkip(name, fetch) {
  try {
    return fetch();
  } catch (error) {
    skip(`${name}: npm cannot fetch it (${error.message.split("\n")[0]})`);
    return null;
  }
}

async function testPacked() {
  const tools = fetchOrSkip("the tools that read the package", fetchPackageTools);
  if (tools) await testPackage(tools, check, skip);
}

function skip(reason) {
  console.log(`skipped: ${reason}`);
  counts.skipped++;
}

/** Returns the verdicts of a runtime, with the names of the preload's rows as docs/runtimes.md shows them. */
async function testRuntime(runtime) {
  console.log(`\n— ${runtime.name}`);
  const isNode = runtime.name.startsWith("Node");
  const control = await askContract(runtime, "control");
  for (const [row, verdict] of Object.entries(control.verdicts))
    check(`control: without the guard ${row} is joined to itself`, verdict === "no", verdict);

  const ways = await askContract(runtime, "ways");
  const program = await askContract(runtime, "program");
  const rows = { ...ways.verdicts };
  for (const [row, verdict] of Object.entries(program.verdicts)) rows[`preload: ${row}`] = verdict;
  for (const [row, verdict] of Object.entries(rows)) {
    const expected = isNode ? ["prevents", "sets them", "connects"] : [...GUARDS, "throws", "connects"];
    const isGuarded = expected.includes(verdict);
    // Every way in guards or throws. What a preload does not reach in another runtime, its warning names, and the table.
    const isNamed = !isNode && verdict === "no" && row.startsWith("preload");
    check(row, isGuarded || (isNamed && program.stderr.includes("ERR_NOT_GUARDED")), verdict);
    if (isNamed) rows[row] = "**not guarded**";
  }
  const warnings = program.stderr.match(/SelfConnectWarning/g) ?? [];
  check("warns once, or has no reason to", warnings.length === (isNode ? 0 : 1), program.stderr);

  const strict = await askStrictly(runtime);
  check("SELFCONNECT_GUARD=strict", (strict.status === 0) === isNode, strict.stderr);
  if (isNode) {
    const insides = await askInsides(runtime);
    check("Node's insides", insides.status === 0, insides.stdout + insides.stderr);
    const named = await askByName(runtime);
    check("--require selfconnect/register", named.stdout === "true\n", named.stdout + named.stderr);
  }
  return { name: runtime.name, rows };
}

async function testClients() {
  const clients = readClients().filter(isWanted);
  check("docs/clients.md has these clients", clients.length >= Math.max(only.length, 1), flags.only);
  const packages = fetchOrSkip("the clients", fetchClients);
  if (!packages) return;
  for (const { name } of clients) {
    await runStory(name, CLIENT_RANGE, "test/stories/clients.wide.ts", {
      CLIENT: name,
      CLIENT_PACKAGES: packages,
    });
  }
}

async function testSuites() {
  const suites = SUITES.filter(isWanted);
  check("there are these suites", suites.length >= Math.max(only.length, 1), flags.only);
  for (const suite of suites) await testSuite(suite);
}

async function testSuite(suite) {
  const { name } = suite;
  const folder = path.resolve(flags.sources, name);
  if (!existsSync(folder))
    return skip(`${name}: npm's package has no tests, and ${folder} is no source tree`);
  // Out here, because a namespace has no way to the registry.
  const isPrepared = fetchOrSkip(name, () => {
    prepareSuite(suite, folder);
    return true;
  });
  if (isPrepared)
    await runStory(name, SUITE_RANGE, "test/stories/suites.wide.ts", { SUITE: name, SUITE_SOURCE: folder });
}

async function testFleet() {
  for (const file of FLEET) await runStory(file, SUITE_RANGE, file, {});
  await testFetched("a queue with TLS and a user of Redis' ACL", testAccess);
  await testFetched("sixty workers of a queue", testQueue);
}

/** The package is packed and installed out here. In the namespaces podman keeps all that it has in the same folder. */
async function testContainers() {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-containers-"));
  try {
    installPacked(folder);
    await runStory("containers", SUITE_RANGE, "test/stories/containers.wide.ts", { CONTAINERS: folder });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function isWanted({ name }) {
  return only.length === 0 || only.includes(name);
}

/** Runs a test's file in a network namespace with this ephemeral range. */
async function runStory(name, range, file, variables) {
  console.log(`\n— ${name}`);
  const vitest = ["node_modules/.bin/vitest", "run", "--reporter=verbose", file];
  const env = { ...variables, WIDE: "1", NO_COLOR: "1" };
  const lines = [];
  const command = [process.execPath, ...vitest];
  const { status, stdout, stderr } = await runInNamespace(range, command, env, (line) => {
    if (!/^ *[✓×↓|] /.test(line)) return;
    lines.push(line);
    console.log(line);
  });
  for (const [sign, count] of Object.entries({ "✓": "passed", "×": "failed", "↓": "skipped" }))
    counts[count] += lines.filter((line) => line.trimStart().startsWith(sign)).length;
  const isReported = lines.some((line) => line.trimStart().startsWith("×"));
  if (status !== 0) {
    // An error may show a record of hundreds of attempts.
    for (const line of (stdout + stderr).split("\n")) console.log(line.slice(0, 200));
    if (!isReported) check(name, false);
  }
}

async function testMachineKinds() {
  const failed = await testMachines(only);
  check("no test fails for what a machine lacks", failed.length === 0, failed.join(", "));
}

async function testNode() {
  const ours = await runNodeTests(flags.sources, flags["node-tests"]);
  check("no test of Node fails because of the guard", ours.length === 0, ours.join(", "));
}

function check(name, isTrue, seen = "") {
  counts[isTrue ? "passed" : "failed"]++;
  if (!isTrue) console.log(`failed: ${name}${seen && `: ${seen}`}`);
}

function markdown(columns) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const rows = Object.keys(columns[0].rows);
  const head = ["way in", ...columns.map(({ name }) => name.replace(/\.\d+$/, ""))];
  const body = rows.map((row) => line([row, ...columns.map((column) => column.rows[row] ?? "no row")]));
  return [line(head), line(head.map(() => "---")), ...body].join("\n");
}
