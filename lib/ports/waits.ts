/** Measures waits for real self-connects, each from a random start on its walk, to test predictions with. */
import { setImmediate as turn } from "node:timers/promises";
import { portFacts } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import { findFreePort } from "../socket/free-port.ts";
import type { PortRange } from "../socket/port-range.ts";
import { portCount } from "../socket/port-range.ts";
import type { Method } from "./method.ts";
import { MEAN_STEPS, STRATEGY_OF, whyNever } from "./predict.ts";
import { makePicker, PICKS_PER_TURN } from "./sample.ts";

/** The options of measureWaits(): the host, the method by which ports are picked, and the number of waits. */
export interface MeasureWaitsOptions {
  readonly host: string;
  readonly family: 4 | 6;
  readonly method: Method;
  readonly count: number;
  readonly signal?: AbortSignal;
  readonly onWait?: (done: readonly MeasuredWait[]) => void;
  readonly random?: () => number;
}

/** One wait that ended in a self-connect. */
export interface MeasuredWait {
  readonly port: number;
  /** Attempts up to and including the self-connect. */
  readonly attempts: number;
  readonly elapsedMs: number;
}

/** A wait gives up after this many times the ports of the range. No wait is so long if the model is right. */
const MOST_LAPS = 40;

/**
 * connect(2) or bind(2) until a self-connect, `count` times, each wait for a different port. A walk continues where
 * it stopped, in any namespace, until Linux salts it anew after ten seconds: a second wait for the same port would
 * start just past it, and so last a whole lap. For a random start, each wait first makes attempts that do not count.
 */
export async function measureWaits(options: MeasureWaitsOptions): Promise<MeasuredWait[]> {
  const { host, family, method, signal, onWait, random = Math.random } = options;
  const range = portFacts().ephemeralRange;
  if (!range) throw new Error("this host does not report its ephemeral range");
  const pick = makePicker(method);
  const used = new Set<number>();
  const done: MeasuredWait[] = [];
  while (done.length < options.count && !signal?.aborted) {
    const port = drawPort({ family, host, port: 0 }, method, range, used, random);
    await wander({ family, host, port }, pick, (random() * portCount(range)) / MEAN_STEPS);
    const wait = await waitOnce({ family, host, port }, pick, MOST_LAPS * (range.high - range.low), signal);
    if (!wait) break;
    done.push(wait);
    onWait?.(done);
  }
  return done;
}

async function wander(peer: Address, pick: ReturnType<typeof makePicker>, attempts: number): Promise<void> {
  for (let made = 1; made <= attempts; made++) {
    pick(peer);
    if (made % PICKS_PER_TURN === 0) await turn();
  }
}

async function waitOnce(
  peer: Address,
  pick: ReturnType<typeof makePicker>,
  most: number,
  signal: AbortSignal | undefined,
): Promise<MeasuredWait | null> {
  const startedAt = performance.now();
  for (let attempts = 1; attempts <= most && !signal?.aborted; attempts++) {
    if (pick(peer).isSelfConnect) {
      return { port: peer.port, attempts, elapsedMs: performance.now() - startedAt };
    }
    if (attempts % PICKS_PER_TURN === 0) await turn();
  }
  return null;
}

/** A free port that the kernel can pick by this method, and that no wait has used. */
function drawPort(
  address: Address,
  method: Method,
  range: PortRange,
  used: Set<number>,
  random: () => number,
): number {
  const facts = portFacts();
  const port = findFreePort(range, {
    addresses: [address],
    from: range.low + Math.floor(random() * portCount(range)),
    isWanted: (one) =>
      !used.has(one) && whyNever({ ...address, port: one }, STRATEGY_OF[method], facts) === null,
  });
  used.add(port);
  return port;
}
