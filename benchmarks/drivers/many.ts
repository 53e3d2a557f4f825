/**
 * connectMany() to one port of many loopback hosts. Arguments: port, milliseconds, "dead" or "live" (connect and
 * reset).
 */
import type { Address } from "../../lib/index.ts";
import { connectMany } from "../../lib/index.ts";
import { measure } from "../measure.ts";

const [port, milliseconds, peer = "dead"] = process.argv.slice(2);
const expected = peer === "dead" ? "ECONNREFUSED" : "connected";

await measure(run, Number(milliseconds));

async function run(durationMs: number): Promise<number> {
  let count = 0;
  for await (const { outcome, socket } of connectMany(hostsFor(durationMs), { perSecond: Infinity })) {
    if (outcome !== expected) throw new Error(`ended with ${outcome}`);
    socket?.reset();
    count++;
  }
  return count;
}

/** 127.0.0.1, 127.0.0.2 …: connectMany() connects to each address once. */
function* hostsFor(durationMs: number): Generator<Address> {
  const endsAt = performance.now() + durationMs;
  for (let host = 1; performance.now() < endsAt; host++) {
    yield { family: 4, host: `127.${host >> 16}.${(host >> 8) & 255}.${host & 255}`, port: Number(port) };
  }
}
