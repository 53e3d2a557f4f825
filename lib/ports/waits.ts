/** Measures waits for real self-connects, each from a random start on its walk, to test predictions with. */
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { Address } from "../socket/address.ts";
import { listenRefusal } from "../socket/listen-refusal.ts";
import { checkKeys } from "../socket/misuse.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { PortAlgorithm } from "./algorithms.ts";
import { checkAlgorithm, meanIncrement } from "./algorithms.ts";
import { pickablePorts } from "./chain.ts";
import type { PortSituation } from "./held.ts";
import { checkSituation } from "./held.ts";
import type { Method } from "./method.ts";
import { checkMethod } from "./method.ts";
import { waitFor } from "./model.ts";
import { modelFacts } from "./never.ts";
import type { Pick } from "./sample.ts";
import { makePicker, PICKS_PER_TURN } from "./sample.ts";
import type { ModelFacts } from "./scan.ts";

/** The options of measureWaits(): the host, the method by which ports are picked, and the number of waits. */
export interface MeasureWaitsOptions {
  /** The address that is connected to; one of this host. */
  readonly host: string;
  /** The family of `host`. */
  readonly family: 4 | 6;
  /** How an attempt gets its local port. */
  readonly method: Method;
  /** How this host picks ports: decides which peers' ports can be hit. */
  readonly algorithm: PortAlgorithm;
  /** The range, the reserved ports and the sockets that hold ports. */
  readonly situation: PortSituation;
  /** How many self-connects to wait for. */
  readonly count: number;
  /** No wait begins after so long; default ten minutes. */
  readonly durationMs?: number;
  /** Ends the measurement when it aborts; what was measured so far is the result. */
  readonly signal?: AbortSignal;
  /** Called after each self-connect with all so far. */
  readonly onWait?: (done: readonly MeasuredWait[]) => void;
  /** A source of numbers from 0 to 1 for the choice of ports; default Math.random. */
  readonly random?: () => number;
}

/** One wait that ended in a self-connect. */
export interface MeasuredWait {
  /** The peer's port, and so the local one. */
  readonly port: number;
  /** Attempts up to and including the self-connect. */
  readonly attempts: number;
  /** Milliseconds from the first attempt to the self-connect. */
  readonly elapsedMs: number;
}

export type Picker = (peer: Address) => Pick;

const OPTION_KEYS = [
  ...["host", "family", "method", "algorithm", "situation", "count"],
  ...["durationMs", "signal", "onWait", "random"],
];
/** A wait gives up after this many times its mean. No wait is so long if the model is right. */
const MOST_MEANS = 40;
const LEAST_BOUND = 1000;
const MOST_MS = 600_000;
/** A salt may change a little later than by this clock. */
const SALT_SLACK_MS = 500;
/** Walks wander over so many places at least: then where they began does not matter. */
const FEWEST_WANDERED = 500;

/**
 * connect(2) or bind(2) until a self-connect, `count` times, each wait for a different port, as long as there are some.
 * A walk continues where it stopped, in any namespace, until Linux salts it anew after ten seconds: a second wait for
 * the same port would start just past it, and so last a whole lap. Where all ports are usable, each wait first makes
 * attempts that do not count. Where not, that would lead to some places more often than to others: a port is used once
 * for each salt. Returns fewer waits when one gives up, and when the time is up.
 */
export async function measureWaits(options: MeasureWaitsOptions): Promise<MeasuredWait[]> {
  checkKeys("measureWaits()", options, OPTION_KEYS);
  checkMethod(options.method);
  checkAlgorithm(options.algorithm);
  checkSituation(options.situation);
  const { family, host, algorithm, signal, onWait, random = Math.random } = options;
  const facts = modelFacts(options.situation, 0);
  if (!facts) throw new Error("this host does not report its ephemeral range");
  const endsAt = performance.now() + (options.durationMs ?? MOST_MS);
  const pick = pickerOf(options.method, options.situation);
  const ports = pickablePorts(algorithm, facts);
  const isEven = facts.unusable.length === 0;
  const done: MeasuredWait[] = [];
  for (let round = 0; ports.size > 0 && done.length < options.count; round++) {
    const left = shuffle([...ports], random);
    if (round > 0 && !isEven && !(await waitForSalt(algorithm, endsAt, signal))) break;
    for (const port of left) {
      if (done.length === options.count || signal?.aborted || performance.now() > endsAt) return done;
      const peer: Address = { family, host, port };
      if (listenRefusal(peer) !== null) ports.delete(port);
      else {
        if (isEven) await wander(peer, pick, random() * wanderedAttempts(algorithm, facts));
        const wait = await waitOnce(peer, pick, boundOf(algorithm, facts, port), signal);
        if (!wait) return done;
        done.push(wait);
        onWait?.(done);
      }
    }
  }
  return done;
}

/** makePicker(), and bind(2) with SO_REUSEADDR where the client of the situation sets it. */
export function pickerOf(method: Method, { reuseAddress }: PortSituation): Picker {
  if (method !== "bind" || !reuseAddress) return makePicker(method);
  return (peer) => {
    using socket = TcpSocket.open(peer.family, { reuseAddress: true });
    const { port } = socket.bind({ ...peer, port: 0 }).getsockname();
    if (port !== peer.port) return { port, isSelfConnect: false };
    socket.connect(peer);
    const isSelfConnect = socket.isSelfConnected();
    socket.reset();
    return { port, isSelfConnect };
  };
}

/** Shuffles in place (Fisher and Yates). */
export function shuffle(ports: number[], random: () => number): number[] {
  for (let index = ports.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [ports[index], ports[other]] = [ports[other]!, ports[index]!];
  }
  return ports;
}

/** Waits until the walks have a new salt; false when they have none, or it comes too late. */
async function waitForSalt(
  { saltMs, counters }: PortAlgorithm,
  endsAt: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (counters === "none") return true;
  if (saltMs === null || performance.now() + saltMs > endsAt) return false;
  await sleep(saltMs + SALT_SLACK_MS, undefined, signal && { signal }).catch(() => undefined);
  return !signal?.aborted;
}

function wanderedAttempts(algorithm: PortAlgorithm, { ephemeralRange: { low, high } }: ModelFacts): number {
  if (algorithm.counters === "none") return 0;
  const places = Math.max(1, Math.floor((high - low + 1) / algorithm.stride));
  return (places * Math.ceil(FEWEST_WANDERED / places)) / meanIncrement(algorithm);
}

async function wander(peer: Address, pick: Picker, attempts: number): Promise<void> {
  for (let made = 1; made <= attempts; made++) {
    pick(peer);
    if (made % PICKS_PER_TURN === 0) await turn();
  }
}

/** The port's own mean where it can be computed quickly, and a bound for any port where not. */
function boundOf(algorithm: PortAlgorithm, facts: ModelFacts, port: number): number {
  const { mean } = waitFor(algorithm, facts, port, Number.MAX_SAFE_INTEGER);
  const { low, high } = facts.ephemeralRange;
  return Math.max(LEAST_BOUND, MOST_MEANS * Math.min(mean, 16 * (high - low + 1)));
}

async function waitOnce(
  peer: Address,
  pick: Picker,
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
