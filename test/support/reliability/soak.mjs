// The part `soak` of check:deep: soak-program.mjs for --minutes, judged, with plots over time.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { IN_NAMESPACE } from "../run-command.mjs";

const PROGRAM = fileURLToPath(new URL("soak-program.mjs", import.meta.url));
/** What may grow from the first fifth of the run to the last one: the reactor and workers come and go. */
const MAY_GROW = { descriptors: 12, rssMb: 120, heapMb: 12 };
/** The least share of the rate that "reuse" makes by itself, in pairs of runs. */
const LEAST_SHARE = 0.5;

export async function soak({ seed, minutes }) {
  const lines = await runProgram([String(Math.round(minutes * 60)), String(seed)]);
  const samples = lines.filter(({ second }) => second !== undefined);
  const end = lines.find((one) => one.end);
  if (!end || samples.length < 5)
    return { facts: [], red: [`the soak ended early: ${JSON.stringify(lines.at(-1))}`] };
  const red = Object.entries(MAY_GROW).flatMap(([name, most]) => {
    const grown = growth(samples.map((one) => one[name]));
    return grown > most ? [`${name} grew by ${grown.toFixed(1)}, may grow by ${most}`] : [];
  });
  const share = median(end.rates.mixed) / median(end.rates.alone);
  if (share < LEAST_SHARE) red.push(`"reuse" made ${share.toFixed(2)} of its own rate`);
  if (end.joined > 0) red.push(`${end.joined} joined sockets were handed out`);
  if (end.failedDials > 0) red.push(`${end.failedDials} dials to a service failed`);
  return {
    facts: [
      ["minutes", minutes],
      ["attempts of loops, every strategy, engine and 1 or 2 threads", end.attempts],
      ["self-connects among them, reset", end.selfConnects],
      ["guarded dials in the same process", end.dials],
      ["dials that failed", end.failedDials],
      ["joined sockets handed out", end.joined],
      ["workers started and terminated", end.workers],
      ["rate of reuse under the load, as a share of its rate alone (median of pairs)", share.toFixed(2)],
      [
        "descriptors, first and last fifth of the run (median)",
        ends(
          samples.map((one) => one.descriptors),
          0,
        ),
      ],
      [
        "RSS in MB, the same",
        ends(
          samples.map((one) => one.rssMb),
          0,
        ),
      ],
      [
        "heap in MB after garbage collection, the same",
        ends(
          samples.map((one) => one.heapMb),
          1,
        ),
      ],
    ],
    red,
    plots: [
      { name: "descriptors", values: samples.map(({ descriptors }) => descriptors) },
      { name: "RSS, MB", values: samples.map(({ rssMb }) => rssMb) },
      { name: "heap after garbage collection, MB", values: samples.map(({ heapMb }) => heapMb) },
      { name: "event-loop delay, 99th percentile, ms", values: samples.map(({ delayMs }) => delayMs) },
      { name: "attempts that ended in this second", values: samples.map(({ attempts }) => attempts) },
    ],
  };
}

function runProgram(args) {
  return new Promise((resolve, reject) => {
    const [program, ...set] = [...IN_NAMESPACE, process.execPath, "--expose-gc", PROGRAM, ...args];
    const child = spawn(program, set, { stdio: ["ignore", "pipe", "inherit"] });
    const lines = [];
    createInterface({ input: child.stdout }).on("line", (line) => lines.push(JSON.parse(line)));
    child.on("error", reject);
    child.on("close", () => resolve(lines));
  });
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** The first fifth still warms up: its second half counts. */
function fifths(values) {
  const length = Math.max(2, Math.floor(values.length / 5));
  return [median(values.slice(Math.floor(length / 2), length + 1)), median(values.slice(-length))];
}

function growth(values) {
  const [first, last] = fifths(values);
  return last - first;
}

function ends(values, digits) {
  return fifths(values)
    .map((value) => value.toFixed(digits))
    .join(", ");
}
