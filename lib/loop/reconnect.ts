/** ReconnectLoop: reconnect to a local port, at the kernel's limit, until joined to oneself. */

import { setTimeout as sleep } from "node:timers/promises";
import { isOwnAddress } from "../kernel/host.ts";
import { onAbort } from "../socket/abort.ts";
import type { Address } from "../socket/address.ts";
import { addressBytes, checkAddress, formatAddress } from "../socket/address.ts";
import type { OutcomeCounts } from "../socket/errors.ts";
import { errnoName, SocketError, threadError } from "../socket/errors.ts";
import { invalidArgument, nearest } from "../socket/misuse.ts";
import type { Native } from "../socket/native.ts";
import { loadNative } from "../socket/native.ts";
import { TcpSocket } from "../socket/socket.ts";
import { supported } from "../socket/supported.ts";
import type { Summary } from "./statistics.ts";
import { summarize } from "./statistics.ts";
import type { Strategy } from "./strategy.ts";

/** Why a loop ended. `interrupted` is an abort; `deadline` is durationMs. */
export type ReconnectVerdict = "self-connect" | "connected" | "attempts-spent" | "deadline" | "interrupted";

/** A loop must be given `attempts` or `durationMs`. */
export interface ReconnectOptions {
  /** An address of this host: a self-connect exists with no other, and a loop aimed outward is a flood. */
  readonly peer: Address | string;
  /** "fresh" unless said otherwise. */
  readonly strategy?: Strategy;
  /** At most this many attempts. */
  readonly attempts?: number;
  /** At most this long. */
  readonly durationMs?: number;
  /** Goes on until joined to itself this many times, resetting each but the last; 1 unless said otherwise. */
  readonly selfConnects?: number;
  /** How many bursts run at a time, each on a thread of its own; 1 unless said otherwise. */
  readonly threads?: number;
  /** At most this many attempts a second, all threads together. */
  readonly attemptsPerSecond?: number;
  /** Takes the local port of every attempt, in order, in batches that it may keep. One thread only. */
  readonly onPorts?: (ports: Uint16Array) => void;
  /** Stops the loop: the verdict is then "interrupted". */
  readonly signal?: AbortSignal;
}

/** A look at a loop while it runs, and the sum of it when it has ended. */
export interface ReconnectProgress {
  readonly attempts: number;
  readonly elapsedMs: number;
  readonly attemptsPerSecond: number;
  /** The local port of a recent attempt; null before the first. */
  readonly localPort: number | null;
  /** How many attempts ended how: `connected`, `self-connect`, `deadline` (without an answer) or an errno name. */
  readonly outcomes: Readonly<OutcomeCounts>;
}

/** How a loop ended. The counters are final, and `socket` is the caller's to close. */
export interface ReconnectResult extends ReconnectProgress {
  readonly verdict: ReconnectVerdict;
  readonly peer: Address;
  readonly strategy: Strategy;
  readonly threads: number;
  /** getsockname(2) of the socket that connected. */
  readonly local: Address | null;
  /** The socket that connected, to itself or to a listener. The caller closes it. */
  readonly socket: TcpSocket | null;
}

/** A burst ends after this long: each is a new thread and a new socket, and every 50 ms they cost the rate 3 %. */
const SLICE_MS = 1000;
/** How often a reader of progress hears of it. */
const PROGRESS_MS = 50;
/** A burst that is paced comes back this often to ask how many attempts are due. */
const PACED_SLICE_MS = 10;
/** What a paced loop makes up for at most: attempts that were due during a longer stall are not made at all. */
const MOST_PACE_DEBT_MS = 50;
const LONGEST_WAIT_MS = 2 ** 31 - 1;
/** The room for recorded ports: what is kept in memory between two calls of onPorts. */
const PORTS_PER_BURST = 16_384;
const ATTEMPTS_PER_BURST = 2 ** 30;
const MOST_THREADS = 256;

/** What native/core/burst.h calls BurstReport: the recent port, the resets, the counters by errno. */
const REPORT_HEADER_WORDS = 2;

/** How a loop has ended, and the socket that it ended with. */
interface End {
  readonly verdict: ReconnectVerdict;
  readonly socket: TcpSocket | null;
  readonly local: Address | null;
}

/**
 * One loop, run once. Iterating gives progress at the reader's pace, and leaving the iteration stops the loop;
 * `await using` stops it and resets its socket.
 */
export class ReconnectLoop implements AsyncIterable<ReconnectProgress>, AsyncDisposable {
  readonly peer: Address;
  readonly strategy: Strategy;
  readonly threads: number;
  readonly #options: ReconnectOptions;
  readonly #native: Native;
  readonly #stop = new Int32Array(1);
  readonly #halt = new AbortController();
  /** The reports of bursts under way: native code counts in them while we look. */
  readonly #running = new Set<Uint32Array>();
  readonly #outcomes: Float64Array;
  #ended = 0;
  #reserved = 0;
  #localPort = 0;
  #selfConnects = 0;
  #startedAt = 0;
  #endedAt = 0;
  /** Attempts that are due are counted from here; it moves on when a stall has made too many of them due. */
  #paceFrom = 0;
  /** Null while the loop goes on. */
  #end: End | null = null;
  #run: Promise<ReconnectResult> | undefined;

  constructor(options: ReconnectOptions) {
    const native = loadNative();
    this.peer = checkAddress(options.peer);
    this.strategy = checkStrategy(options.strategy ?? "fresh", native);
    this.threads = checkCount("threads", options.threads ?? 1, MOST_THREADS);
    checkLimits(options, this.threads);
    checkOwn(this.peer);
    this.#options = options;
    this.#native = native;
    this.#outcomes = new Float64Array(native.outcomes);
  }

  /**
   * Runs until connected, spent or aborted, and returns which; an abort is a verdict, not a rejection. Called again it
   * returns the same run, and each caller's signal stops it.
   */
  run(signal?: AbortSignal): Promise<ReconnectResult> {
    if (signal?.aborted) this.#stopNow();
    this.#run ??= this.#start();
    if (signal) this.#stopWith(signal, this.#run);
    return this.#run;
  }

  /** A look at the counters now; it costs no crossing. */
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
      outcomes: this.#named(counts, selfConnects),
    };
  }

  /**
   * Yields progress every 50 ms, at the reader's pace, and once more when the loop has ended; throws where the loop
   * fails. Leaving the iteration early stops the loop and waits for its end.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<ReconnectProgress, void, void> {
    const run = this.run();
    // The loop may fail while the reader is busy: the failure waits here for the reader.
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

  /** Stops the loop, and closes the socket that connected unless somebody has done so. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopNow();
    await this.#run?.catch(() => undefined);
    this.#end?.socket?.reset();
  }

  async #start(): Promise<ReconnectResult> {
    this.#startedAt = this.#paceFrom = performance.now();
    const { durationMs, signal } = this.#options;
    if (signal?.aborted) this.#stopNow();
    const forget = onAbort(signal, () => this.#stopNow());
    const timer =
      durationMs === undefined ? undefined : setTimeout(() => this.#finish("deadline"), durationMs);
    try {
      const lanes = Array.from({ length: this.threads }, () => this.#runLane());
      const failed = (await Promise.allSettled(lanes)).find((lane) => lane.status === "rejected");
      if (failed) this.#end?.socket?.reset();
      if (failed) throw failed.reason;
    } finally {
      clearTimeout(timer);
      forget();
      this.#endedAt = performance.now();
    }
    return this.#result();
  }

  /** A signal that came with a call of run(), until the run is over. */
  #stopWith(signal: AbortSignal, run: Promise<ReconnectResult>): void {
    const forget = onAbort(signal, () => this.#stopNow());
    run.then(forget, forget);
  }

  #stopNow(): void {
    this.#finish("interrupted");
  }

  /** One thread's worth: burst after burst while the verdict is open. */
  async #runLane(): Promise<void> {
    try {
      while (this.#end === null) {
        const attempts = this.#takeAllowance();
        if (attempts > 0) await this.#burst(attempts);
        else await this.#pause();
      }
    } catch (error) {
      this.#stopNow();
      throw error;
    }
  }

  /** How many attempts may be made now; they are reserved until the burst has told how many it made. */
  #takeAllowance(): number {
    const { attempts: most = Infinity, attemptsPerSecond, onPorts } = this.#options;
    const left = most - this.#ended - this.#reserved;
    if (most - this.#ended <= 0) this.#finish("attempts-spent");
    const due = attemptsPerSecond === undefined ? Infinity : this.#due(attemptsPerSecond);
    const room = onPorts ? PORTS_PER_BURST : ATTEMPTS_PER_BURST;
    const share = Math.ceil(left / this.threads);
    const allowance = this.#end === null ? Math.max(0, Math.min(share, due, room)) : 0;
    this.#reserved += allowance;
    return allowance;
  }

  /** The attempts that are due by now at a given pace, and not made yet. The first is due at once. */
  #due(attemptsPerSecond: number): number {
    const made = this.#ended + this.#reserved;
    const most = Math.ceil((MOST_PACE_DEBT_MS * attemptsPerSecond) / 1000);
    const due = Math.floor(((performance.now() - this.#paceFrom) / 1000) * attemptsPerSecond) + 1 - made;
    if (due <= most) return due;
    this.#paceFrom += ((due - most) / attemptsPerSecond) * 1000;
    return most;
  }

  /** Until the next attempt is due, or another lane has given some back. */
  async #pause(): Promise<void> {
    const { attemptsPerSecond = Infinity } = this.#options;
    const waitMs = Math.min(LONGEST_WAIT_MS, Math.max(PACED_SLICE_MS, 500 / attemptsPerSecond));
    // Halted while it waits: there is no more to wait for.
    await sleep(waitMs, undefined, { signal: this.#halt.signal }).catch(() => undefined);
  }

  async #burst(attempts: number): Promise<void> {
    const { onPorts, attemptsPerSecond, durationMs } = this.#options;
    const report = new Uint32Array(REPORT_HEADER_WORDS + this.#native.outcomes);
    const ports = onPorts ? new Uint16Array(attempts) : null;
    const leftMs = durationMs === undefined ? Infinity : durationMs - (performance.now() - this.#startedAt);
    const sliceMs = Math.max(1, Math.min(attemptsPerSecond ? PACED_SLICE_MS : SLICE_MS, Math.ceil(leftMs)));
    const connected = this.#native.handle();
    this.#running.add(report);
    let refused = 0;
    const result = await new Promise<number>((resolve) => {
      const peer = addressBytes(this.peer, this.#native);
      refused = this.#native.burst(
        connected,
        this.strategy,
        peer,
        attempts,
        this.#selfConnectsLeft(),
        sliceMs,
        this.#stop,
        ports,
        report,
        resolve,
      );
      if (refused < 0) resolve(0);
    });
    this.#running.delete(report);
    this.#reserved -= attempts;
    const ended = this.#account(report);
    if (refused < 0) throw threadError(refused, "clone");
    if (result < 0) throw new SocketError(result, { syscall: "socket" });
    if (this.#native.fd(connected) >= 0) this.#judge(TcpSocket.adopt(connected));
    if (ports) onPorts?.(ports.subarray(0, ended));
  }

  /** One burst's share of the self-connects that are still to come. */
  #selfConnectsLeft(): number {
    const { selfConnects = 1 } = this.#options;
    return Math.max(1, Math.ceil((selfConnects - this.#selfConnects) / this.threads));
  }

  /** Adds the report of an ended burst; returns how many attempts it made. */
  #account(report: Uint32Array): number {
    const ended = addOutcomes(this.#outcomes, report);
    this.#ended += ended;
    this.#selfConnects += report[1]!;
    this.#localPort = report[0] || this.#localPort;
    return ended;
  }

  /** The check: is the socket that connected joined to itself? The first one decides; another is reset. */
  #judge(socket: TcpSocket): void {
    const isSelf = socket.isSelfConnected();
    if (isSelf) this.#selfConnects++;
    const { selfConnects = 1 } = this.#options;
    const isMoreToCome = isSelf && this.#selfConnects < selfConnects;
    const isLate = this.#end?.socket || this.#end?.verdict === "interrupted";
    if (isLate || isMoreToCome) {
      socket.reset();
      return;
    }
    // A loop whose time or attempts were spent during this burst has connected all the same.
    this.#end = { verdict: isSelf ? "self-connect" : "connected", socket, local: socket.getsockname() };
    this.#haltBursts();
  }

  /** The first end stands; every burst is told to stop. */
  #finish(verdict: ReconnectVerdict): void {
    this.#end ??= { verdict, socket: null, local: null };
    this.#haltBursts();
  }

  #haltBursts(): void {
    Atomics.store(this.#stop, 0, 1);
    this.#halt.abort();
  }

  /** The counters under their names. Native code counts a connect as 0; the check tells which kind it was. */
  #named(counts: Float64Array, selfConnects: number): OutcomeCounts {
    const outcomes: OutcomeCounts = {};
    counts.forEach((count, errno) => {
      if (count === 0 || errno === 0) return;
      outcomes[errno === this.#native.unanswered ? "deadline" : errnoName(-errno)] = count;
    });
    // Native code may count a self-connect between our look at the resets and that at the outcomes, or after both.
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
      local: this.#end?.local ?? null,
      socket: this.#end?.socket ?? null,
    };
  }
}

/** One trial of several, without the socket. */
export interface Trial {
  readonly verdict: ReconnectVerdict;
  readonly attempts: number;
  readonly elapsedMs: number;
}

/** The samples of the trials that self-connected, summed up. */
export function summarizeTrials(trials: readonly Trial[]): {
  attempts: Summary | null;
  elapsedMs: Summary | null;
} {
  const selfConnected = trials.filter((trial) => trial.verdict === "self-connect");
  return {
    attempts: summarize(selfConnected.map((trial) => trial.attempts)),
    elapsedMs: summarize(selfConnected.map((trial) => trial.elapsedMs)),
  };
}

function checkStrategy(strategy: Strategy, native: Native): Strategy {
  if (!native.strategies.includes(strategy)) {
    const meant = nearest(String(strategy), native.strategies);
    const mend = meant ? `did you mean "${meant}"?` : `use one of ${native.strategies.join(", ")}`;
    throw invalidArgument("ERR_UNKNOWN_STRATEGY", `"${strategy}" is not a strategy: ${mend}`);
  }
  if (strategy === "range" && !supported("localPortRange")) {
    const message = "strategy range needs IP_LOCAL_PORT_RANGE (Linux 6.3 and later): use bind";
    throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
  }
  return strategy;
}

function checkLimits(options: ReconnectOptions, threads: number): void {
  const { attempts, durationMs, selfConnects, attemptsPerSecond, onPorts } = options;
  if (attempts === undefined && durationMs === undefined) {
    throw invalidArgument("ERR_NO_LIMIT", "a loop must be given attempts or durationMs");
  }
  if (attempts !== undefined) checkCount("attempts", attempts, Number.MAX_SAFE_INTEGER);
  if (selfConnects !== undefined) checkCount("selfConnects", selfConnects, 2 ** 32 - 1);
  if (durationMs !== undefined) checkCount("durationMs", durationMs, 2 ** 31 - 1);
  if (attemptsPerSecond !== undefined && !(attemptsPerSecond > 0 && Number.isFinite(attemptsPerSecond))) {
    const message = `attemptsPerSecond ${attemptsPerSecond} is not a pace: use a number above 0`;
    throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
  }
  if (onPorts && threads > 1) {
    throw invalidArgument(
      "ERR_PORTS_OF_THREADS",
      "local ports are in order on one thread only: use threads 1",
    );
  }
}

function checkOwn(peer: Address): void {
  if (peer.port === 0) {
    throw invalidArgument("ERR_INVALID_PORT", "port 0 cannot be connected to: use 1 to 65535", RangeError);
  }
  if (isOwnAddress(peer)) return;
  const why = "a self-connect exists on this host's own addresses only, and a loop aimed outward is a flood";
  throw invalidArgument("ERR_NOT_THIS_HOST", `${formatAddress(peer)} is not an address of this host: ${why}`);
}

function checkCount(name: string, value: number, most: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw invalidArgument("ERR_OUT_OF_RANGE", `${name} ${value} is not a count: use 1 to ${most}`, RangeError);
}

/**
 * Adds a report's counters and returns their sum, the attempts: native code goes on counting, so each counter is read
 * once.
 */
function addOutcomes(counts: Float64Array, report: Uint32Array): number {
  let attempts = 0;
  for (let errno = 0; errno < counts.length; errno++) {
    const count = report[REPORT_HEADER_WORDS + errno]!;
    counts[errno]! += count;
    attempts += count;
  }
  return attempts;
}
