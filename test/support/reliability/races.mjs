// The part `races` of check:deep: workers terminated and processes ended at random moments of every kind of work; sockets
// closed, reset, released and moved during every wait; aborts by the thousand; buffers that change under a call.
import path from "node:path";
import { fileURLToPath } from "node:url";
import { IN_NAMESPACE, runCommand } from "../run-command.mjs";

const PROGRAM = fileURLToPath(new URL("race-program.mjs", import.meta.url));
/** How often each race is run. */
const RACES = { terminate: 120, exit: 25, waits: 1500, aborts: 3000, buffers: 2000 };

export async function attackByRaces({ seed }) {
  const facts = [];
  const red = [];
  for (const [race, count] of Object.entries(RACES)) {
    // A process that exits is one race; the others have many in one process.
    const processes = race === "exit" ? count : 1;
    for (let i = 0; i < processes; i++) {
      const args = [race, String(seed + i), String(race === "exit" ? 1 : count)];
      const options = { timeout: 180_000, killSignal: "SIGKILL" };
      const { status, output } = await runCommand(
        [...IN_NAMESPACE, process.execPath, PROGRAM, ...args],
        options,
      );
      if (status !== 0)
        red.push(`${path.basename(PROGRAM)} ${args.join(" ")}: exit code ${status}: ${output.slice(-600)}`);
    }
    facts.push([WORDS[race], count]);
  }
  return { facts, red };
}

const WORDS = {
  terminate: "workers terminated at random moments of their work",
  exit: "processes ended by process.exit() during a burst",
  waits: "waits during which the socket was closed, reset, released or moved",
  aborts: "aborts of waits, dials and loops",
  buffers: "calls with detached, resizable, shared and changing buffers",
};
