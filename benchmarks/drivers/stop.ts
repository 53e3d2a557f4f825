/**
 * How long a loop takes to stop while no SYN is answered: the median of many aborts. Arguments: port and milliseconds
 * (not used; 0 aborts once), strategy, engine.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Engine, Strategy } from "../../lib/index.ts";
import { ReconnectLoop, summarize, TcpSocket } from "../../lib/index.ts";

const [, milliseconds, strategy = "fresh", engine = "plain"] = process.argv.slice(2);
const ABORTS = 50;

// A listener whose backlog is full answers no SYN.
const listener = TcpSocket.open(4).bind("127.0.0.1:0").listen(0);
const peer = listener.getsockname();
const fillers = Array.from({ length: 4 }, () => TcpSocket.open(4));
for (const filler of fillers) filler.connect(peer);

const aborts = Number(milliseconds) === 0 ? 1 : ABORTS;
const times: number[] = [];
for (let abort = 0; abort < aborts; abort++) times.push(await measureStop(15 + (abort % 7)));
for (const socket of [...fillers, listener]) socket.reset();
console.log(JSON.stringify({ count: aborts, elapsedNs: summarize(times)!.median * 1e6 }));

async function measureStop(afterMs: number): Promise<number> {
  const controller = new AbortController();
  const options = { peer, strategy: strategy as Strategy, engine: engine as Engine, attempts: 1000 };
  const end = new ReconnectLoop(options).run(controller.signal);
  await sleep(afterMs);
  const startedAt = performance.now();
  controller.abort();
  const { outcomes } = await end;
  const tookMs = performance.now() - startedAt;
  // On a busy machine the attempt may not have begun, and then there is no outcome.
  const answers = Object.keys(outcomes).filter((outcome) => outcome !== "deadline");
  if (answers.length > 0) throw new Error(`the SYN was answered: ${answers.join(", ")}`);
  return tookMs;
}
