/** Peak memory after two numbers of attempts. Arguments: port, milliseconds (not used), both numbers, threads. */
import { readFileSync } from "node:fs";
import { ReconnectLoop } from "../../lib/index.ts";

const [port, , first = "1", last = "2", threads = "1"] = process.argv.slice(2);
const LOOK_EVERY_MS = 50;

const loop = new ReconnectLoop({
  peer: `127.0.0.1:${port}`,
  strategy: "reuse",
  attempts: Number(last),
  threads: Number(threads),
});
let firstBytes = 0;
const timer = setInterval(() => {
  if (firstBytes === 0 && loop.progress().attempts >= Number(first)) firstBytes = peakMemoryBytes();
}, LOOK_EVERY_MS);
const { attempts, elapsedMs } = await loop.run();
clearInterval(timer);
const lastBytes = peakMemoryBytes();
const growthBytes = lastBytes - (firstBytes || lastBytes);
console.log(JSON.stringify({ count: attempts, elapsedNs: elapsedMs * 1e6, growthBytes }));

/** proc(5), VmHWM: the peak memory of this process. */
function peakMemoryBytes(): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
}
