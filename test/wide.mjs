// npm run check:wide: the guard's contract on every runtime, and the story of every client in docs/clients.md, at exact
// versions that npm fetches when this first runs. It prints the table that README shows. --runtimes and --clients run one
// of the two (--clients=NAME,… some clients), --here asks the Node that runs it, which npm test does, --node-source DIR
// runs Node's own tests instead (--node-tests REGEXP those with such names), and --machines our tests on machines that
// lack something (--machines=FILE,… these tests), which makes docs/machines.md. --package asks other people's tools about
// the packed package. Plain JavaScript, as test/all.mjs.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { fetchClients, readClients } from "./support/clients.mjs";
import { testMachines } from "./support/machines.mjs";
import { runNodeTests } from "./support/node-tests.mjs";
import { testPackage } from "./support/package-checks.mjs";
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

/** What a way in may do about a self-connect. "no" is a way in that the guard does not reach. */
const GUARDS = ["prevents", "detects"];
/** The ephemeral range of a client's namespace: enough ports for a pool, few enough to meet the server's soon. */
const CLIENT_RANGE = "50000 50005";
const counts = { passed: 0, failed: 0, skipped: 0 };

const { values: flags } = parseFlags({
  args: process.argv.slice(2).map((flag) => (/^--(clients|machines)$/.test(flag) ? `${flag}=` : flag)),
  options: {
    help: { type: "boolean" },
    here: { type: "boolean" },
    runtimes: { type: "boolean" },
    clients: { type: "string" },
    machines: { type: "string" },
    package: { type: "boolean" },
    "node-source": { type: "string" },
    "node-tests": { type: "string" },
  },
});

if (flags.help) {
  console.log(
    readFileSync(new URL(import.meta.url), "utf8")
      .split("\nimport")[0]
      .replace(/^\/\/ /gm, ""),
  );
  process.exit(0);
}
if (spawnSync("unshare", ["--net", "true"]).status !== 0) {
  console.log(
    "check:wide needs a network namespace of its own: run it as root, with unshare (Debian: util-linux)",
  );
  process.exit(1);
}

if (flags.here) await testRuntime(THIS_NODE);
else if (flags.package) await testPackage(check, skip);
else if (flags.machines !== undefined) await testMachineKinds(flags.machines);
else if (flags["node-source"]) await testNode(flags["node-source"]);
else {
  if (flags.clients === undefined) await testRuntimes();
  if (!flags.runtimes) await testClients(flags.clients);
  if (flags.clients === undefined && !flags.runtimes) await testPackage(check, skip);
}
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = counts.failed > 0 ? 1 : 0;

/** parseArgs(), with one line for a flag that there is not. */
function parseFlags(config) {
  try {
    return parseArgs(config);
  } catch ({ message }) {
    console.error(`${message}; see --help`);
    process.exit(2);
  }
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
  check("README.md shows this table", readFileSync("README.md", "utf8").includes(table));
}

/** What `fetch` returns; null, and a printed skip, where npm cannot fetch it. */
function fetchOrSkip(name, fetch) {
  try {
    return fetch();
  } catch (error) {
    console.log(`skipped: ${name}: npm cannot fetch it (${error.message.split("\n")[0]})`);
    counts.skipped++;
    return null;
  }
}

/** Returns the verdicts of a runtime, with the names of the preload's rows as README shows them. */
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

/** `names` is a list with commas; empty or undefined are all. */
async function testClients(names) {
  const wanted = names?.split(",").filter(Boolean) ?? [];
  const clients = readClients().filter(({ name }) => wanted.length === 0 || wanted.includes(name));
  check("docs/clients.md has these clients", clients.length >= Math.max(wanted.length, 1), names);
  const packages = fetchOrSkip("the clients", fetchClients);
  if (!packages) return;
  for (const { name } of clients) await testClient(name, packages);
}

async function testClient(name, packages) {
  console.log(`\n— ${name}`);
  const vitest = ["node_modules/.bin/vitest", "run", "--reporter=verbose", "test/stories/clients.wide.ts"];
  const env = { CLIENT: name, CLIENT_PACKAGES: packages, NO_COLOR: "1" };
  const { status, stdout, stderr } = await runInNamespace(CLIENT_RANGE, [process.execPath, ...vitest], env);
  const lines = stdout.split("\n").filter((line) => /^ *[✓×↓] /.test(line));
  console.log(lines.join("\n"));
  for (const [sign, count] of Object.entries({ "✓": "passed", "×": "failed", "↓": "skipped" }))
    counts[count] += lines.filter((line) => line.trimStart().startsWith(sign)).length;
  const isReported = lines.some((line) => line.trimStart().startsWith("×"));
  if (status !== 0) {
    // An error may show a record of hundreds of attempts.
    for (const line of (stdout + stderr).split("\n")) console.log(line.slice(0, 200));
    if (!isReported) check(name, false);
  }
}

/** `files` is a list with commas; empty are those of the table in docs/machines.md. */
async function testMachineKinds(files) {
  const failed = await testMachines(files === "" ? undefined : files.split(","));
  check("no test fails for what a machine lacks", failed.length === 0, failed.join(", "));
}

async function testNode(source) {
  const ours = await runNodeTests(source, flags["node-tests"]);
  check("no test of Node fails because of the guard", ours.length === 0, ours.join(", "));
}

function check(name, isTrue, seen = "") {
  counts[isTrue ? "passed" : "failed"]++;
  if (!isTrue) console.log(`failed: ${name}${seen && `: ${seen}`}`);
}

function skip(reason) {
  counts.skipped++;
  console.log(`skipped: ${reason}`);
}

function markdown(columns) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const rows = Object.keys(columns[0].rows);
  const head = ["way in", ...columns.map(({ name }) => name.replace(/\.\d+$/, ""))];
  const body = rows.map((row) => line([row, ...columns.map((column) => column.rows[row] ?? "no row")]));
  return [line(head), line(head.map(() => "---")), ...body].join("\n");
}
