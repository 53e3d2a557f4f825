/** Waits for real self-connects, one after another, each from anywhere on its walk: what predictions are held to. */
import { setImmediate as turn } from "node:timers/promises";
import { portFacts } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import { findFreePort } from "../socket/free-port.ts";
import type { PortRange } from "../socket/port-range.ts";
import { portCount } from "../socket/port-range.ts";
import type { Method } from "./method.ts";
import { MEAN_STEPS, STRATEGY_OF, whyNever } from "./predict.ts";
import { makePicker, PICKS_PER_TURN } from "./sample.ts";

/** Where to wait for self-connects, how to ask for ports, and how many waits to measure. */
export interface MeasureWaitsOptions {
  readonly host: string;
  readonly family: 4 | 6;
  readonly method: Method;
  readonly count: number;
  readonly signal?: AbortSignal;
  readonly onWait?: (done: readonly MeasuredWait[]) => void;
  readonly random?: () => number;
}

/** One wait for a self-connect that came: the port, the attempts and the milliseconds. */
export interface MeasuredWait {
  readonly port: number;
  /** Attempts until the self-connect, that one included. */
  readonly attempts: number;
  readonly elapsedMs: number;
}

/** No wait of a right model is this many times the ports of the range. */
const MOST_LAPS = 40;

/**
 * Each wait has a peer port of its own. The walk towards a port goes on where it stood, in whatever namespace
 * that was: a second wait for one port, within the ten seconds after which Linux salts its walks anew, starts just
 * past it and has to go round first. So a wait begins somewhere on the way round, by attempts that do not count.
 */
export async function measureWaits(options: MeasureWaitsOptions): Promise<MeasuredWait[]> {
  const { host, family, method, signal, onWait, random = Math.random } = options;
  const range = portFacts().ephemeralRange;
  if (!range) throw new Error("this host does not tell its ephemeral range");
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

/** A port that the method can be given, that is free, and that no wait has had. */
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
