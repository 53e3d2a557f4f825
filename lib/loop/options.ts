/** The options of ReconnectLoop, and their checks. */
import type { Address } from "../socket/address.ts";
import { checkPeer } from "../socket/address.ts";
import { checkCallbacks, checkKeys, checkSignal, invalidArgument, textOf } from "../socket/misuse.ts";
import type { Native } from "../socket/native.ts";
import type { Strategy } from "../socket/strategy.ts";
import { checkStrategyName } from "../socket/strategy.ts";
import { supported } from "../socket/supported.ts";
import type { Engine } from "./engine.ts";
import { checkEngine, checkLoopPlatform } from "./engine.ts";

/** The options of a loop; one of `attempts` and `durationMs` is required. */
export interface ReconnectOptions {
  /** An address of this host: a self-connect needs one, and a loop to another host would flood it. */
  readonly peer: Address | string;
  /** Default "fresh". */
  readonly strategy?: Strategy;
  /** The most attempts. */
  readonly attempts?: number;
  /** The longest time of the loop, in milliseconds. */
  readonly durationMs?: number;
  /** How many self-connects end the loop (default 1); it resets each socket except the last. */
  readonly selfConnects?: number;
  /** How many bursts run at a time, each on a separate thread; default 1. */
  readonly threads?: number;
  /** The most attempts per second by all threads together. */
  readonly attemptsPerSecond?: number;
  /** Receives the local port of every attempt, in order, in batches that it may keep. Needs `threads` 1. */
  readonly onPorts?: (ports: Uint16Array) => void;
  /**
   * What makes the attempts. By default ("auto") both engines make some hundred attempts, and then the one that took
   * less processor time for each makes the others; a process learns that once for each strategy. `onPorts` and
   * `attemptsPerSecond` need the plain engine. io_uring makes up to 8 attempts at once: with "fresh", the last attempts
   * of a loop may come after the one that connected.
   */
  readonly engine?: Engine | "auto";
  /** When it aborts, the loop stops with the verdict "interrupted". */
  readonly signal?: AbortSignal;
}

const MOST_THREADS = 256;
const OPTION_KEYS = [
  "peer",
  "strategy",
  "attempts",
  "durationMs",
  "selfConnects",
  "threads",
  "attemptsPerSecond",
  "onPorts",
  "engine",
  "signal",
];

/** The options that have defaults, or that are given in several forms. */
interface CheckedOptions {
  readonly peer: Address;
  readonly strategy: Strategy;
  readonly threads: number;
  readonly engine: Engine | "auto";
}

/** Throws a TypeError or a RangeError for an option that is wrong or that this kernel lacks. */
export function checkLoopOptions(options: ReconnectOptions, native: Native): CheckedOptions {
  checkLoopPlatform();
  checkKeys("ReconnectLoop", options, OPTION_KEYS);
  checkSignal(options.signal);
  checkCallbacks(options, ["onPorts"]);
  const peer = checkPeer(options.peer);
  const strategy = checkStrategy(options.strategy ?? "fresh");
  const threads = checkCount("threads", options.threads ?? 1, MOST_THREADS);
  checkLimits(options, threads);
  return { peer, strategy, threads, engine: checkEngine(options, native) };
}

function checkStrategy(strategy: Strategy): Strategy {
  checkStrategyName(strategy);
  if (strategy === "range" && !supported("localPortRange")) {
    const message = "strategy range needs IP_LOCAL_PORT_RANGE (Linux 6.3 and later): use bind";
    throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
  }
  return strategy;
}

function checkLimits(options: ReconnectOptions, threads: number): void {
  const { attempts, durationMs, selfConnects, attemptsPerSecond, onPorts } = options;
  if (attempts === undefined && durationMs === undefined) {
    throw invalidArgument("ERR_NO_LIMIT", "a loop needs attempts or durationMs");
  }
  if (attempts !== undefined) checkCount("attempts", attempts, Number.MAX_SAFE_INTEGER);
  if (selfConnects !== undefined) checkCount("selfConnects", selfConnects, 2 ** 32 - 1);
  if (durationMs !== undefined) checkCount("durationMs", durationMs, 2 ** 31 - 1);
  if (attemptsPerSecond !== undefined && !(Number.isFinite(attemptsPerSecond) && attemptsPerSecond > 0)) {
    const message = `attemptsPerSecond ${textOf(attemptsPerSecond)} is not a rate: use a number above 0`;
    throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
  }
  if (onPorts && threads > 1) {
    throw invalidArgument(
      "ERR_PORTS_OF_THREADS",
      "local ports are in order on one thread only: use threads 1",
    );
  }
}

function checkCount(name: string, value: number, most: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  const message = `${name} ${textOf(value)} is not a count: use 1 to ${most}`;
  throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
}
