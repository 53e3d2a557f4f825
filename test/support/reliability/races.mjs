// The part `races` of check:deep: workers terminated and processes ended at random moments of every kind of work; sockets
// closed, reset, released and moved during every wait; aborts by the thousand; buffers that change under a call. On each
// Node that npm has of those that the package is for.
import path from "node:path";
import { fileURLToPath } from "node:url";
import { IN_NAMESPACE, runCommand } from "../run-command.mjs";
import { fetchRuntime, RUNTIMES, THIS_NODE } from "../runtimes.mjs";

const PROGRAM = fileURLToPath(new URL("race-program.mjs", import.meta.url));
/** How often each race is run on each Node. */
const RACES = { terminate: 250, exit: 25, waits: 1500, aborts: 3000, buffers: 2000 };
const LONGEST_MS = 300_000;

export async function attackByRaces({ seed }) {
  const { nodes, skipped } = findNodes();
  const facts = Object.entries(RACES).map(([race, count]) => [WORDS[race], count * nodes.length]);
  const [rows, red] = [[], []];
  for (const { name, program } of nodes) {
    const found = await raceOn(program, seed);
    rows.push([name, found.length]);
    red.push(...found.map((one) => `${name}: ${one}`));
  }
  return { facts, head: ["on", "red"], rows, red, skipped };
}

/** This Node, and the others that are in the cache or that npm can fetch. */
function findNodes() {
  const nodes = [{ name: THIS_NODE.name, program: process.execPath }];
  const skipped = [];
  for (const runtime of RUNTIMES.filter(({ name }) => name.startsWith("Node"))) {
    try {
      nodes.push({ name: runtime.name, program: fetchRuntime(runtime) });
    } catch (error) {
      skipped.push(`${runtime.name}: ${error.message}`);
    }
  }
  return { nodes, skipped };
}

/** What each race that went wrong printed. */
async function raceOn(node, seed) {
  const red = [];
  for (const [race, count] of Object.entries(RACES)) {
    // A process that exits is one race; the others have many in one process.
    const processes = race === "exit" ? count : 1;
    for (let i = 0; i < processes; i++) {
      const args = [race, String(seed + i), String(race === "exit" ? 1 : count)];
      const options = { timeout: LONGEST_MS, killSignal: "SIGKILL" };
      const { status, output } = await runCommand([...IN_NAMESPACE, node, PROGRAM, ...args], options);
      if (status !== 0)
        red.push(`${path.basename(PROGRAM)} ${args.join(" ")}: exit code ${status}: ${output.slice(-600)}`);
    }
  }
  return red;
}

const WORDS = {
  terminate: "workers terminated at random moments of their work",
  exit: "processes ended by process.exit() during a burst",
  waits: "waits during which the socket was closed, reset, released or moved",
  aborts: "aborts of waits, dials and loops",
  buffers: "calls with detached, resizable, shared and changing buffers",
};
