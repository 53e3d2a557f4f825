/**
 * This package's loop until it is joined to itself, once. Arguments: port, milliseconds at most, strategy, threads,
 * host.
 */
import type { Strategy } from "../../lib/index.ts";
import { ReconnectLoop } from "../../lib/index.ts";

const [port, milliseconds, strategy = "fresh", threads = "1", host = "127.0.0.1"] = process.argv.slice(2);

const result = await new ReconnectLoop({
  peer: { family: host.includes(":") ? 6 : 4, host, port: Number(port) },
  strategy: strategy as Strategy,
  threads: Number(threads),
  durationMs: Math.max(1, Number(milliseconds)),
}).run();
result.socket?.reset();
const isJoined = result.verdict === "self-connect";
console.log(
  JSON.stringify({ count: isJoined ? 1 : 0, elapsedNs: result.elapsedMs * 1e6, attempts: result.attempts }),
);
