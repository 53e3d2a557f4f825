/** ReconnectLoop: connects to a local port, as fast as the kernel can, until a socket connects to itself. */

import { setTimeout as sleep } from "node:timers/promises";
import { bindProves, isOwnAddress } from "../kernel/host.ts";
import { onAbort } from "../socket/abort.ts";
import type { Address } from "../socket/address.ts";
import type { OutcomeCounts } from "../socket/errors.ts";
import { errnoName } from "../socket/errors.ts";
import { checkArray, checkSignal, LONGEST_WAIT_MS } from "../socket/misuse.ts";
import type { Handle, Native } from "../socket/native.ts";
import { loadNative } from "../socket/native.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { Strategy } from "../socket/strategy.ts";
import { addOutcomes, interruptUntil, makeReport, otherHostError, runBurst } from "./burst.ts";
import type { Engine } from "./engine.ts";
import { nameRefusal } from "./engine.ts";
import type { ReconnectOptions } from "./options.ts";
import { checkLoopOptions } from "./options.ts";
import type { Summary } from "./statistics.ts";
import { summarize } from "./statistics.ts";

/** Why a loop ended. `interrupted` is an abort; `deadline` is durationMs. */
export type ReconnectVerdict = "self-connect" | "connected" | "attempts-spent" | "deadline" | "interrupted";

/** The counters of a loop: current while it runs, final after it has ended. */
export interface ReconnectProgress {
  /** How many connect(2) were made so far. */
  readonly attempts: number;
  /** Milliseconds since the loop began. */
  readonly elapsedMs: number;
  /** The mean rate since the loop began. */
  readonly attemptsPerSecond: number;
  /** The local port of a recent attempt; null before the first. */
  readonly localPort: number | null;
  /** How many attempts had each outcome: `connected`, `self-connect`, `deadline` (no reply) or an errno name. */
  readonly outcomes: Readonly<OutcomeCounts>;
}

/** How a loop ended. The counters are final; the caller closes `socket`. */
export interface ReconnectResult extends ReconnectProgress {
  /** Why the loop ended. */
  readonly verdict: ReconnectVerdict;
  /** The address that the attempts connected to. */
  readonly peer: Address;
  /** How an attempt got its local port. */
  readonly strategy: Strategy;
  /** How many threads made attempts at the same time. */
  readonly threads: number;
  /** What made most of the attempts. */
  readonly engine: Engine;
  /** Why io_uring made none, in words; null when it made some, was not asked for or takes more processor time. */
  readonly engineRefusal: string | null;
  /** getsockname(2) of the socket that connected. */
  readonly local: Address | null;
  /** The socket that connected, to itself or to a listener. The caller closes it. */
  readonly socket: TcpSocket | null;
}

/** Length of a burst. Each burst starts a thread and a socket; at 50 ms that cost 3 % of the rate. */
const SLICE_MS = 1000;
/** The iteration yields progress this often. */
const PROGRESS_MS = 50;
/** Length of a burst with `attemptsPerSecond`; after each, the loop computes how many attempts are due. */
const PACED_SLICE_MS = 10;
/** After a stall, a loop with `attemptsPerSecond` makes up for this much of it; it skips attempts due earlier. */
const MOST_CATCH_UP_MS = 50;
/** The most attempts of a burst with `onPorts`, which keeps all their ports in memory. */
const PORTS_PER_BURST = 16_384;
const ATTEMPTS_PER_BURST = 2 ** 30;

/** How a loop ended, and the socket that connected. */
interface End {
  readonly verdict: ReconnectVerdict;
  readonly socket: TcpSocket | null;
  readonly local: Address | null;
}

/**
 * A loop that runs once. Iterating yields progress as fast as the reader reads it; leaving the iteration stops the
 * loop. `await using` stops the loop and resets its socket.
 */
export class ReconnectLoop implements AsyncIterable<ReconnectProgress>, AsyncDisposable {
  /** The address that the attempts connect to. */
  readonly peer: Address;
  /** How an attempt gets its local port; "fresh" unless given. */
  readonly strategy: Strategy;
  /** How many threads make attempts at the same time; 1 unless given. */
  readonly threads: number;
  readonly #engine: Engine | "auto";
  readonly #options: ReconnectOptions;
  readonly #native: Native;
  readonly #trustsBind: 0 | 1;
  readonly #stop = new Int32Array(1);
  readonly #halt = new AbortController();
  /** The reports of running bursts: native code writes to them while we read. */
  readonly #running = new Set<Uint32Array>();
  readonly #outcomes: Float64Array;
  #ended = 0;
  #reserved = 0;
  #localPort = 0;
  #selfConnects = 0;
  #ringAttempts = 0;
  #ringRefusal = 0;
  #startedAt = 0;
  #endedAt = 0;
  /** Due attempts are counted from this time; it moves forward when a stall has made too many attempts due. */
  #paceFrom = 0;
  /** Null until the loop ends. */
  #end: End | null = null;
  #run: Promise<ReconnectResult> | undefined;

  constructor(options: ReconnectOptions) {
    const native = loadNative();
    const { peer, strategy, threads, engine } = checkLoopOptions(options, native);
    this.peer = peer;
    this.strategy = strategy;
    this.threads = threads;
    this.#engine = engine;
    checkOwn(this.peer);
    this.#options = options;
    this.#native = native;
    this.#trustsBind = bindProves(this.peer) ? 1 : 0;
    this.#outcomes = new Float64Array(native.outcomes);
  }

  /**
   * Runs until a socket connects, a limit is reached or a signal aborts; an abort is a verdict, not a rejection. A
   * second call returns the same run, and its signal also stops the loop. Rejects with SocketError when a burst fails,
   * and with ERR_NOT_THIS_HOST when the attempts go to another host: the kernel is asked every 10 ms, between attempts.
   */
  run(signal?: AbortSignal): Promise<ReconnectResult> {
    checkSignal(signal);
    if (signal?.aborted) this.#stopNow();
    this.#run ??= this.#start();
    if (signal) this.#stopWith(signal, this.#run);
    return this.#run;
  }

  /** Reads the counters now, without a native call. */
  progress(): ReconnectProgress {
    const counts = Float64Array.from(this.#outcomes);
    let attempts = this.#ended;
    let selfConnects = this.#selfConnects;
    for (const report of this.#running) {
      selfConnects += report[1]!;
      attempts += addOutcomes(counts, report);
    }
    const elapsedMs = this.#startedAt === 0 ? 0 : (this.#endedAt || performance.now()) - this.#startedAt;
    const liveReport = this.#running.values().next().value;
    return {
      attempts,
      elapsedMs,
      attemptsPerSecond: elapsedMs > 0 ? (attempts * 1000) / elapsedMs : 0,
      localPort: liveReport?.[0] || this.#localPort || null,
      outcomes: this.#nameOutcomes(counts, selfConnects),
    };
  }

  /**
   * Yields progress every 50 ms, or less often to a slow reader, and once more when the loop has ended; throws when the
   * loop fails. Leaving the iteration early stops the loop and waits for its end.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<ReconnectProgress, void, void> {
    const run = this.run();
    // The loop may fail while the reader is busy. This avoids an unhandled rejection; `await run` below throws it.
    run.catch(() => undefined);
    const { signal } = this.#halt;
    try {
      while (!signal.aborted) {
        await sleep(PROGRESS_MS, undefined, { signal }).catch(() => undefined);
        if (!signal.aborted) yield this.progress();
      }
      await run;
      yield this.progress();
    } finally {
      this.#stopNow();
      await run.catch(() => undefined);
    }
  }

  /** Stops the loop, and resets the socket that connected, unless it is closed already. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopNow();
    await this.#run?.catch(() => undefined);
    this.#end?.socket?.reset();
  }

  async #start(): Promise<ReconnectResult> {
    this.#startedAt = this.#paceFrom = performance.now();
    const { durationMs, signal } = this.#options;
    if (signal?.aborted) this.#stopNow();
    const removeAbort = onAbort(signal, () => this.#stopNow());
    const timer =
      durationMs === undefined ? undefined : setTimeout(() => this.#finish("deadline"), durationMs);
    try {
      const lanes = Array.from({ length: this.threads }, () => this.#runLane());
      const failed = (await Promise.allSettled(lanes)).find((lane) => lane.status === "rejected");
      if (failed) this.#end?.socket?.reset();
      if (failed) throw failed.reason;
    } finally {
      clearTimeout(timer);
      removeAbort();
      this.#endedAt = performance.now();
    }
    return this.#result();
  }

  /** Stops the loop when the signal of a run() call aborts; removes the listener when the run has ended. */
  #stopWith(signal: AbortSignal, run: Promise<ReconnectResult>): void {
    const removeAbort = onAbort(signal, () => this.#stopNow());
    run.then(removeAbort, removeAbort);
  }

  #stopNow(): void {
    this.#finish("interrupted");
  }

  /** Runs the bursts of one thread, one after the other, until the loop ends. */
  async #runLane(): Promise<void> {
    try {
      while (this.#end === null) {
        const attempts = this.#takeAllowance();
        if (attempts > 0) await this.#runBurst(attempts);
        else await this.#pause();
      }
    } catch (error) {
      this.#stopNow();
      throw error;
    }
  }

  /** Reserves and returns the attempts of the next burst; after the burst, the number that it made counts instead. */
  #takeAllowance(): number {
    const { attempts: most = Infinity, attemptsPerSecond, onPorts } = this.#options;
    const left = most - this.#ended - this.#reserved;
    if (most - this.#ended <= 0) this.#finish("attempts-spent");
    const due = attemptsPerSecond === undefined ? Infinity : this.#countDue(attemptsPerSecond);
    const largest = onPorts ? PORTS_PER_BURST : ATTEMPTS_PER_BURST;
    const share = Math.ceil(left / this.threads);
    const allowance = this.#end === null ? Math.max(0, Math.min(share, due, largest)) : 0;
    this.#reserved += allowance;
    return allowance;
  }

  /** Counts the attempts that are due now at a given rate and not made yet. The first is due at once. */
  #countDue(attemptsPerSecond: number): number {
    const made = this.#ended + this.#reserved;
    const most = Math.max(1, Math.ceil((MOST_CATCH_UP_MS * attemptsPerSecond) / 1000));
    const due = Math.floor(((performance.now() - this.#paceFrom) / 1000) * attemptsPerSecond) + 1 - made;
    if (due <= most) return due;
    this.#paceFrom += ((due - most) / attemptsPerSecond) * 1000;
    return most;
  }

  /** Waits until the next attempt may be due, or another lane has returned reserved attempts. */
  async #pause(): Promise<void> {
    const { attemptsPerSecond = Infinity } = this.#options;
    const waitMs = Math.min(LONGEST_WAIT_MS, Math.max(PACED_SLICE_MS, 500 / attemptsPerSecond));
    // The sleep rejects when the loop ends; then there is nothing to wait for.
    await sleep(waitMs, undefined, { signal: this.#halt.signal }).catch(() => undefined);
  }

  async #runBurst(attempts: number): Promise<void> {
    const { onPorts, attemptsPerSecond, durationMs } = this.#options;
    const report = makeReport(this.#native);
    const ports = onPorts ? new Uint16Array(attempts) : null;
    const leftMs = durationMs === undefined ? Infinity : durationMs - (performance.now() - this.#startedAt);
    const sliceMs = Math.max(1, Math.min(attemptsPerSecond ? PACED_SLICE_MS : SLICE_MS, Math.ceil(leftMs)));
    this.#running.add(report);
    let ended = 0;
    let connected: Handle;
    try {
      connected = await runBurst(this.#native, {
        strategy: this.strategy,
        peer: this.peer,
        attempts,
        selfConnects: this.#selfConnectsLeft(),
        sliceMs,
        stop: this.#stop,
        ports,
        report,
        trustsBind: this.#trustsBind,
        engine: this.#engine,
      });
    } finally {
      this.#running.delete(report);
      this.#reserved -= attempts;
      ended = this.#account(report);
    }
    if (this.#native.fd(connected) >= 0) this.#judge(TcpSocket.adopt(connected));
    if (ports) onPorts?.(ports.subarray(0, ended));
  }

  /** The self-connects after which one burst ends: its share of those that are left. */
  #selfConnectsLeft(): number {
    const { selfConnects = 1 } = this.#options;
    return Math.max(1, Math.ceil((selfConnects - this.#selfConnects) / this.threads));
  }

  /** Adds the report of an ended burst to the counters. Returns how many attempts it made. */
  #account(report: Uint32Array): number {
    const ended = addOutcomes(this.#outcomes, report);
    this.#ended += ended;
    this.#selfConnects += report[1]!;
    this.#ringAttempts += report[4]!;
    this.#ringRefusal = report[5]!;
    this.#localPort = report[0] || this.#localPort;
    return ended;
  }

  /** Resets the socket when it cannot be judged. */
  #judge(socket: TcpSocket): void {
    try {
      this.#endBy(socket, socket.isSelfConnected());
    } catch (error) {
      if (!socket.closed) socket.reset();
      throw error;
    }
  }

  /** The first socket that connected ends the loop; a later one is reset. */
  #endBy(socket: TcpSocket, isSelf: boolean): void {
    if (isSelf) this.#selfConnects++;
    const { selfConnects = 1 } = this.#options;
    const goesOn = isSelf && this.#selfConnects < selfConnects;
    const isLate = this.#end?.socket || this.#end?.verdict === "interrupted";
    if (isLate || goesOn) {
      socket.reset();
      return;
    }
    // When the deadline passed or the attempts ran out during this burst, the connect still decides the verdict.
    this.#end = { verdict: isSelf ? "self-connect" : "connected", socket, local: socket.getsockname() };
    this.#haltBursts();
  }

  /** Ends the loop, unless it has ended already, and stops every burst. */
  #finish(verdict: ReconnectVerdict): void {
    this.#end ??= { verdict, socket: null, local: null };
    this.#haltBursts();
  }

  #haltBursts(): void {
    if (this.#halt.signal.aborted) return;
    Atomics.store(this.#stop, 0, 1);
    this.#halt.abort();
    interruptUntil(this.#native, () => this.#running.size === 0);
  }

  /** Converts counters to outcomes. Native code counts every connect as errno 0; `selfConnects` of them were joined. */
  #nameOutcomes(counts: Float64Array, selfConnects: number): OutcomeCounts {
    const outcomes: OutcomeCounts = {};
    counts.forEach((count, errno) => {
      if (count === 0 || errno === 0) return;
      outcomes[errno === this.#native.unanswered ? "deadline" : errnoName(-errno)] = count;
    });
    // Native code may count a self-connect between our reads of the resets and of the outcomes, or after both.
    const joined = Math.min(selfConnects, counts[0]!);
    if (counts[0]! > joined) outcomes.connected = counts[0]! - joined;
    if (joined > 0) outcomes["self-connect"] = joined;
    return outcomes;
  }

  #result(): ReconnectResult {
    return {
      ...this.progress(),
      verdict: this.#end?.verdict ?? "attempts-spent",
      peer: this.peer,
      strategy: this.strategy,
      threads: this.threads,
      engine: this.#ringAttempts * 2 > this.#ended ? "io_uring" : "plain",
      engineRefusal: this.#ringRefusal === 0 ? null : nameRefusal(this.#ringRefusal),
      local: this.#end?.local ?? null,
      socket: this.#end?.socket ?? null,
    };
  }
}

/** The result of one loop, without the socket, for a series of them. */
export interface Trial {
  /** Why the trial ended; only "self-connect" counts as a success. */
  readonly verdict: ReconnectVerdict;
  /** The attempts of the trial, the last one included. */
  readonly attempts: number;
  /** Milliseconds from the first attempt to the end. */
  readonly elapsedMs: number;
}

/** Summarizes the attempts and times of the trials that self-connected; null when no trial did. */
export function summarizeTrials(trials: readonly Trial[]): {
  attempts: Summary | null;
  elapsedMs: Summary | null;
} {
  checkArray("summarizeTrials() takes an array of trials", trials, ["verdict"]);
  const selfConnected = trials.filter((trial) => trial.verdict === "self-connect");
  return {
    attempts: summarize(selfConnected.map((trial) => trial.attempts)),
    elapsedMs: summarize(selfConnected.map((trial) => trial.elapsedMs)),
  };
}

function checkOwn(peer: Address): void {
  if (isOwnAddress(peer)) return;
  throw otherHostError(peer, 0);
}
