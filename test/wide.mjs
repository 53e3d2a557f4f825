// npm run check:wide: the guard's contract on every runtime, at exact versions that npm fetches when this first runs.
// It prints the table that README shows. With --here it asks the Node that runs it, which npm test does. Plain
// JavaScript, as test/all.mjs.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import {
  askContract,
  askInsides,
  askStrictly,
  fetchRuntime,
  RUNTIMES,
  THIS_NODE,
} from "./support/runtimes.mjs";

/** What a way in may do about a self-connect. "no" is a way in that the guard does not reach. */
const GUARDS = ["prevents", "detects"];
const counts = { passed: 0, failed: 0, skipped: 0 };

if (spawnSync("unshare", ["--net", "true"]).status !== 0) {
  console.log(
    "check:wide needs a network namespace of its own: run it as root, with unshare (Debian: util-linux)",
  );
  process.exit(1);
}

if (process.argv.includes("--here")) await testRuntime(THIS_NODE);
else {
  const columns = [];
  for (const runtime of RUNTIMES)
    columns.push(await testRuntime({ ...runtime, path: fetchRuntime(runtime) }));
  const table = markdown(columns);
  console.log(`\n${table}\n`);
  check("README.md shows this table", readFileSync("README.md", "utf8").includes(table));
}
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed > 0 ? 1 : 0;

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
    // Every way in guards or throws. What a preload does not reach in another runtime, its warning names.
    const isNamed = !isNode && verdict === "no" && row.startsWith("preload");
    check(row, isGuarded || (isNamed && program.stderr.includes("ERR_NOT_GUARDED")), verdict);
    if (isNamed) rows[row] = "warns";
  }
  const warnings = program.stderr.match(/SelfConnectWarning/g) ?? [];
  check("warns once, or has no reason to", warnings.length === (isNode ? 0 : 1), program.stderr);

  const strict = await askStrictly(runtime);
  check("SELFCONNECT_GUARD=strict", (strict.status === 0) === isNode, strict.stderr);
  if (isNode) {
    const insides = await askInsides(runtime);
    check("Node's insides", insides.status === 0, insides.stdout + insides.stderr);
  }
  return { name: runtime.name, rows };
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
