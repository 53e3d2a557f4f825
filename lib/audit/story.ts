/** The whole story of one self-connect: the loop, its ports, packets, harm and chance, and this host's risk. */

import type { ReconnectOptions } from "../loop/options.ts";
import type { ReconnectProgress, ReconnectResult } from "../loop/reconnect.ts";
import { ReconnectLoop } from "../loop/reconnect.ts";
import type { Trace } from "../packets/trace.ts";
import { traceLoop } from "../packets/trace.ts";
import type { Never } from "../ports/never.ts";
import { whyNever } from "../ports/never.ts";
import type { Prediction } from "../ports/predict.ts";
import { METHOD_OF, predict, situationFor } from "../ports/predict.ts";
import type { ErrnoName } from "../socket/errors.ts";
import { listenRefusal } from "../socket/listen-refusal.ts";
import { checkObject } from "../socket/misuse.ts";
import type { Audit } from "./audit.ts";
import { audit } from "./audit.ts";
import type { JoinedMoment } from "./joined.ts";
import { examineJoined } from "./joined.ts";

/** The loop to run, and who looks on. */
export interface StoryOptions extends Omit<ReconnectOptions, "selfConnects"> {
  /** Called some times a second while the loop runs. */
  readonly onProgress?: (progress: ReconnectProgress) => void;
  /** Called while the socket joined to itself is open; it is reset when the returned promise resolves. */
  readonly whileOpen?: (moment: JoinedMoment, result: ReconnectResult) => Promise<void> | void;
}

/** One run, and everything that this package can find out about it. */
export interface Story {
  /** How the loop ended. */
  readonly result: Omit<ReconnectResult, "socket">;
  /** Why a self-connect was never to come, as whyNever() returned it before the first attempt. */
  readonly never: Never | null;
  /** The local port of every attempt, in order; null where several attempts were made at a time. */
  readonly ports: Uint16Array | null;
  /** The packets and states of the self-connect. */
  readonly trace: Trace;
  /** The socket while it was open; null when none joined itself. */
  readonly moment: JoinedMoment | null;
  /** The errno of a server that starts on the peer's address after reset(); null when it starts. */
  readonly refusalAfter: ErrnoName | null;
  /** How many attempts a self-connect takes here, or why it never happens. */
  readonly prediction: Prediction;
  /** The listeners of this host. */
  readonly host: Audit;
  /** The peer's port, as if a server were to be put on it. */
  readonly port: Audit;
}

const LOOK_EVERY_MS = 100;

/**
 * connect(2), packet(7), sock_diag(7): runs a ReconnectLoop and records it: the local port of every attempt, the
 * packets of the self-connect (with CAP_NET_RAW), the socket while it is open, what predict() and audit() say here.
 * Resets the socket. Throws and rejects as ReconnectLoop does.
 */
export async function recordStory(options: StoryOptions): Promise<Story> {
  checkObject("recordStory()", options, ["peer", "whileOpen"]);
  const { onProgress, whileOpen, ...loopOptions } = options;
  const isInOrder = (options.threads ?? 1) === 1 && options.engine !== "io_uring";
  const kept = isInOrder ? new KeptPorts(options) : null;
  const loop = new ReconnectLoop({
    ...loopOptions,
    ...(kept && { onPorts: (ports: Uint16Array) => kept.add(ports) }),
  });
  const { peer, strategy } = loop;
  const situation = situationFor(peer, strategy);
  const never = whyNever(peer, strategy, situation);
  const prediction = await predict({ peer, method: METHOD_OF[strategy], facts: situation });
  let moment: JoinedMoment | null = null;
  const timer = setInterval(() => onProgress?.(loop.progress()), LOOK_EVERY_MS);
  const { trace, result } = await traceLoop(loop, {
    ...(options.signal && { signal: options.signal }),
    async whileOpen(socket, ended) {
      clearInterval(timer);
      moment = await examineJoined(socket);
      await whileOpen?.(moment, ended);
    },
  }).finally(() => clearInterval(timer));
  const { socket: _, ...rest } = result;
  return {
    result: rest,
    never,
    ports: kept?.join() ?? null,
    trace,
    moment,
    refusalAfter: listenRefusal(peer),
    prediction,
    host: await audit(),
    port: await audit({ ports: [peer.port] }),
  };
}

/** The ports of all attempts, also for the caller's own onPorts. */
class KeptPorts {
  readonly #pass: ReconnectOptions["onPorts"];
  readonly #batches: Uint16Array[] = [];

  constructor({ onPorts }: Pick<ReconnectOptions, "onPorts">) {
    this.#pass = onPorts;
  }

  add(ports: Uint16Array): void {
    this.#batches.push(ports);
    this.#pass?.(ports);
  }

  join(): Uint16Array {
    const all = new Uint16Array(this.#batches.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const batch of this.#batches) {
      all.set(batch, at);
      at += batch.length;
    }
    return all;
  }
}
