/** This package's loop. Arguments: port, milliseconds, strategy, threads, engine, host. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Engine, Strategy } from "../../lib/index.ts";
import { ReconnectLoop } from "../../lib/index.ts";

const [port, milliseconds, strategy = "fresh", threads = "1", engine = "auto", host = "127.0.0.1"] =
  process.argv.slice(2);
const RESOLUTION_MS = 1;
const WARM_UP_MS = 20;
const NS_PER_MS = 1e6;
const NS_PER_US = 1e3;

await run(WARM_UP_MS);
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delay.enable();
const before = process.cpuUsage();
const { attempts, elapsedMs, outcomes } = await run(Math.max(1, Number(milliseconds)));
const { user, system } = process.cpuUsage(before);
delay.disable();

const expected = strategy === "bind" || strategy === "range" ? "self-connect" : "ECONNREFUSED";
const unexpected = Object.keys(outcomes).filter((outcome) => outcome !== expected);
if (unexpected.length > 0)
  throw new Error(`not every attempt ended with ${expected}: ${unexpected.join(", ")}`);
console.log(
  JSON.stringify({
    count: attempts,
    elapsedNs: elapsedMs * NS_PER_MS,
    cpuNs: (user + system) * NS_PER_US,
    eventLoopDelayMs: {
      p50: toDelayMs(delay.percentile(50)),
      p99: toDelayMs(delay.percentile(99)),
      max: toDelayMs(delay.max),
    },
  }),
);

async function run(durationMs: number) {
  const loop = new ReconnectLoop({
    peer: { family: host.includes(":") ? 6 : 4, host, port: Number(port) },
    strategy: strategy as Strategy,
    threads: Number(threads),
    engine: engine as Engine | "auto",
    selfConnects: 2 ** 32 - 1,
    durationMs,
  });
  const result = await loop.run();
  result.socket?.reset();
  return result;
}

/** The histogram records the time between two ticks of a timer; the time beyond its period is delay. */
function toDelayMs(ns: number): number {
  return Math.max(0, ns / NS_PER_MS - RESOLUTION_MS);
}
