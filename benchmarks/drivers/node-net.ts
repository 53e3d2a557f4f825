/** node:net. Arguments: port, milliseconds, "dead" or "live" (connect and reset), how many in flight. */
import net from "node:net";
import { measure } from "../measure.ts";

const [port, milliseconds, peer = "dead", inFlight = "1"] = process.argv.slice(2);

await measure(run, Number(milliseconds));

async function run(durationMs: number): Promise<number> {
  const endsAt = performance.now() + durationMs;
  const one = peer === "dead" ? connectRefused : connectAndReset;
  const lanes = Array.from({ length: Number(inFlight) }, async () => {
    let count = 0;
    for (; performance.now() < endsAt; count++) await one();
    return count;
  });
  return (await Promise.all(lanes)).reduce((sum, count) => sum + count, 0);
}

function connectRefused(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), "127.0.0.1", () => reject(new Error("something listens there")));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ECONNREFUSED") reject(error);
    });
    socket.on("close", () => resolve());
  });
}

function connectAndReset(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), "127.0.0.1", () => socket.resetAndDestroy());
    socket.on("error", reject);
    socket.on("close", () => resolve());
  });
}
