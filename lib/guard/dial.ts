/** dial(): one guarded connection, with attempts, waits and a deadline. Never hands out a socket joined to itself. */
import dns from "node:dns/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { exhaustion } from "../kernel/exhaustion.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, checkPort, formatAddress, hostBytes, toAddress } from "../socket/address.ts";
import type { Attempt, Outcome } from "../socket/errors.ts";
import { DialError, SocketError } from "../socket/errors.ts";
import { invalidArgument } from "../socket/misuse.ts";
import { wouldSelfConnect } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { Backoff } from "./backoff.ts";
import { checkBackoff, delayMs } from "./backoff.ts";
import { selfConnectMessage, tellAttempt, tellRejected } from "./channels.ts";
import type { Guard, GuardOptions } from "./guard.ts";
import { isAble, isKnownOwn, preventiveRanges } from "./prevention.ts";
import { checkGuardOptions } from "./streams.ts";

/** How dial() connects: the local address, how often and how long it tries, and the guard. */
export interface DialOptions extends GuardOptions {
  /** bind(2) to this address first; port 0 leaves the port to the kernel, at connect(2) where it can. */
  readonly local?: Address | string;
  /** At most this many attempts for each address of the peer; 3 unless said otherwise. */
  readonly attempts?: number;
  /**
   * The errno names after which another attempt is made, beside a self-connect and a spurious EADDRNOTAVAIL:
   * `["ECONNREFUSED"]` waits for a service to come up. None unless said otherwise.
   */
  readonly retryOn?: readonly string[];
  /** How long to wait between attempts; not at all unless said otherwise. */
  readonly backoff?: Backoff;
  /** Milliseconds for the whole operation: names, attempts and waits. */
  readonly deadlineMs?: number;
  /** Its reason rejects the dial. */
  readonly signal?: AbortSignal;
  /** Hears of each attempt when it has ended, also of those that no error tells. */
  readonly onAttempt?: (attempt: Attempt) => void;
}

/** A connection that dial() made: connect(2) succeeded, and getsockname(2) differs from getpeername(2). */
export interface Dialed {
  /** Connected, and not to itself. The caller closes it. */
  readonly socket: TcpSocket;
  readonly local: Address;
  readonly peer: Address;
  /** Every attempt, the last of them the one that connected. */
  readonly attempts: readonly Attempt[];
}

const DEFAULT_ATTEMPTS = 3;
const LONGEST_WAIT_MS = 2 ** 31 - 1;

/**
 * One guarded connection: to "127.0.0.1:80", "localhost:80" (each address of a name in turn) or an Address. Rejects
 * with SocketError for what the kernel said; DialError ERR_SELF_CONNECT when the guard kept a socket joined to
 * itself from the caller, ERR_ATTEMPTS when attempts were spent on `retryOn`, ERR_DEADLINE; or the signal's reason.
 */
export async function dial(peer: Address | string, options: DialOptions = {}): Promise<Dialed> {
  return new Dial(peer, options).run();
}

/** One dial under way. */
class Dial {
  readonly #peer: { readonly host: string; readonly port: number; readonly scope?: string };
  readonly #options: DialOptions;
  readonly #guard: Guard;
  readonly #local: Address | undefined;
  readonly #most: number;
  readonly #attempts: Attempt[] = [];
  readonly #startedAt = performance.now();

  constructor(peer: Address | string, options: DialOptions) {
    this.#peer = typeof peer === "string" ? hostAndPort(peer) : checkAddress(peer);
    this.#guard = checkGuardOptions(options).guard!;
    this.#local = options.local === undefined ? undefined : checkAddress(options.local);
    this.#most = options.attempts ?? DEFAULT_ATTEMPTS;
    if (!Number.isInteger(this.#most) || this.#most < 1) {
      const message = `attempts ${this.#most} is not a count: use 1 or more`;
      throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
    }
    const { deadlineMs } = options;
    if (deadlineMs !== undefined && !(deadlineMs >= 0 && deadlineMs <= LONGEST_WAIT_MS)) {
      const message = `deadlineMs ${deadlineMs} is not a time: use 0 to ${LONGEST_WAIT_MS}`;
      throw invalidArgument("ERR_INVALID_DEADLINE", message, RangeError);
    }
    checkBackoff(options.backoff);
    this.#options = options;
  }

  /** The addresses in turn. Of several errors the first tells most: it is of the address preferred. */
  async run(): Promise<Dialed> {
    this.#options.signal?.throwIfAborted();
    const peers = await this.#resolved();
    let first: unknown;
    for (const peer of peers) {
      try {
        return await this.#dialAddress(peer);
      } catch (error) {
        first = moreTelling(first, error);
        if (this.#isOver(error)) break;
      }
    }
    throw first;
  }

  async #dialAddress(peer: Address): Promise<Dialed> {
    this.#refuseFixedPort(peer);
    for (let made = 1; ; made++) {
      const outcome = await this.#attempt(peer);
      if ("socket" in outcome) return outcome;
      if (made >= this.#most || !this.#isWorthAnother(outcome.error))
        throw this.#verdict(peer, outcome.error, made);
      await this.#wait(made);
    }
  }

  /** One connect(2), and the guard's look at what came of it. */
  async #attempt(peer: Address): Promise<Dialed | { readonly error: unknown }> {
    const startedAt = performance.now();
    const socket = TcpSocket.open(this.#local?.family ?? peer.family, this.#openOptions());
    try {
      await this.#connected(socket, peer);
      const local = socket.getsockname();
      const isRejected = this.#guard !== "off" && socket.isSelfConnected();
      const outcome = isRejected ? "self-connect" : "connected";
      const attempt = this.#tell({ outcome, peer, local, elapsedMs: performance.now() - startedAt });
      if (!isRejected) return { socket, local, peer, attempts: this.#attempts };
      socket.reset();
      tellRejected(attempt, true);
      return { error: attempt };
    } catch (error) {
      const local = socket.closed ? undefined : socket.getsockname();
      socket.reset();
      const outcome = outcomeOf(error);
      const isPort = local !== undefined && local.port !== 0;
      if (outcome)
        this.#tell({ outcome, peer, ...(isPort && { local }), elapsedMs: performance.now() - startedAt });
      return { error };
    }
  }

  /** bind(2) where asked, then connect(2) from each preventive range while the one before is exhausted. */
  async #connected(socket: TcpSocket, peer: Address): Promise<void> {
    const isFixed = this.#local !== undefined && this.#local.port !== 0;
    const asked = this.#options.options?.localPortRange;
    const ranges = isFixed ? [] : preventiveRanges(peer, this.#guard, asked);
    if (ranges.length > 0) socket.setsockopt("localPortRange", ranges[0]!);
    if (this.#local) socket.bind(this.#local);
    let answer = connectOrExhausted(socket, peer);
    for (const range of ranges.slice(1)) {
      if (!(answer instanceof SocketError)) break;
      socket.setsockopt("localPortRange", range);
      answer = connectOrExhausted(socket, peer);
    }
    if (answer instanceof SocketError) throw answer;
    if (answer === "connected") return;
    const { signal, deadlineMs } = this.#options;
    await socket.connected({
      ...(signal && { signal }),
      ...(deadlineMs !== undefined && { deadlineMs: Math.max(0, this.#leftMs()) }),
    });
  }

  /** Where the port is left to the kernel, it is left to connect(2), which knows the range and the four-tuple. */
  #openOptions(): NonNullable<GuardOptions["options"]> {
    const isLate = this.#local?.port === 0 && isAble("bindAddressNoPort");
    return { ...(isLate && { bindAddressNoPort: true }), ...this.#options.options };
  }

  /** An explicit local port equal to the peer's: no attempt is needed to know how it would end. */
  #refuseFixedPort(peer: Address): void {
    if (this.#guard === "off" || !this.#local || !wouldSelfConnect(this.#local, peer, isKnownOwn(peer)))
      return;
    const attempt = this.#tell({ outcome: "self-connect", peer, local: this.#local, elapsedMs: 0 });
    tellRejected(attempt, false);
    const message = selfConnectMessage(formatAddress(peer), [attempt], false);
    throw new DialError("ERR_SELF_CONNECT", message, this.#attempts);
  }

  #isWorthAnother(error: unknown): boolean {
    const outcome = outcomeOf(error);
    if (outcome === "self-connect") return true;
    if (outcome === null || outcome === "deadline") return false;
    if (this.#options.retryOn?.includes(outcome)) return true;
    // Spurious: ports are free, and the kernel gave up in a race for one of them.
    return isExhaustion(error) && exhaustion((error as SocketError).peer!)?.isReal === false;
  }

  #verdict(peer: Address, error: unknown, made: number): unknown {
    const outcome = outcomeOf(error);
    const where = formatAddress(peer);
    if (outcome === "self-connect") {
      const message = selfConnectMessage(where, this.#attempts, true);
      return new DialError("ERR_SELF_CONNECT", message, this.#attempts);
    }
    if (outcome === "deadline") return this.#deadlineError();
    const told = isExhaustion(error) ? withExhaustion(error as SocketError) : error;
    if (made === 1 || outcome === null) return told;
    const message = `${made} attempts to connect to ${where} are spent; the last ended in ${outcome}`;
    return new DialError("ERR_ATTEMPTS", message, this.#attempts, told);
  }

  /** Until the next attempt; a wait that the deadline cuts short is the end. */
  async #wait(made: number): Promise<void> {
    const waitMs = delayMs(this.#options.backoff, made);
    const leftMs = this.#leftMs();
    const { signal } = this.#options;
    if (waitMs > 0) await sleep(Math.min(waitMs, leftMs), undefined, { signal }).catch(() => undefined);
    signal?.throwIfAborted();
    if (leftMs <= waitMs) throw this.#deadlineError();
  }

  /** dns.lookup(), in its order, under the deadline. A numeric host needs none. */
  async #resolved(): Promise<readonly Address[]> {
    const { host, port, scope } = this.#peer;
    if (hostBytes(host)) return [toAddress(scope === undefined ? host : `${host}%${scope}`, port)];
    const ended = new AbortController();
    const family = this.#local?.family ?? 0;
    try {
      const found = await Promise.race([dns.lookup(host, { all: true, family }), this.#end(ended.signal)]);
      return found.map(({ address }) => toAddress(address, port));
    } finally {
      ended.abort();
    }
  }

  /** Rejects at the deadline or the abort, unless `over` comes first. */
  async #end(over: AbortSignal): Promise<never> {
    const { signal } = this.#options;
    const either = AbortSignal.any(signal ? [over, signal] : [over]);
    const leftMs = Math.min(this.#leftMs(), LONGEST_WAIT_MS);
    await sleep(leftMs, undefined, { signal: either }).catch(() => undefined);
    signal?.throwIfAborted();
    throw this.#deadlineError();
  }

  #leftMs(): number {
    const { deadlineMs } = this.#options;
    return deadlineMs === undefined ? Infinity : deadlineMs - (performance.now() - this.#startedAt);
  }

  #deadlineError(): DialError {
    const { host, port } = this.#peer;
    const spent = `${this.#attempts.length} attempt${this.#attempts.length === 1 ? "" : "s"}`;
    const message = `not connected to ${host}:${port} within ${this.#options.deadlineMs} ms (${spent})`;
    return new DialError("ERR_DEADLINE", message, this.#attempts);
  }

  #isOver(error: unknown): boolean {
    return this.#options.signal?.aborted === true || outcomeOf(error) === "deadline" || this.#leftMs() <= 0;
  }

  #tell(attempt: Attempt): Attempt {
    this.#attempts.push(attempt);
    tellAttempt(attempt);
    this.#options.onAttempt?.(attempt);
    return attempt;
  }
}

/** connect(2); an EADDRNOTAVAIL is an answer here, for another range may have a port. */
function connectOrExhausted(socket: TcpSocket, peer: Address): "connected" | "in-progress" | SocketError {
  try {
    return socket.connect(peer);
  } catch (error) {
    if (isExhaustion(error)) return error as SocketError;
    throw error;
  }
}

function isExhaustion(error: unknown): boolean {
  return error instanceof SocketError && error.code === "EADDRNOTAVAIL" && error.syscall === "connect";
}

/** The same answer with the range and the number of its ports in use. */
function withExhaustion(error: SocketError): SocketError {
  const found = exhaustion(error.peer!);
  if (!found) return error;
  return new SocketError(error.errno, { syscall: error.syscall, peer: error.peer!, fix: found.text });
}

/** The outcome of an attempt, from its error or from itself; null for what is no outcome (an abort, a mistake). */
function outcomeOf(error: unknown): Outcome | null {
  if (error instanceof SocketError) return error.code;
  if (error instanceof DialError) return error.code === "ERR_DEADLINE" ? "deadline" : "self-connect";
  return isAttempt(error) ? error.outcome : null;
}

function isAttempt(value: unknown): value is Attempt {
  return value !== null && typeof value === "object" && "outcome" in value;
}

/** The first error, unless a later one is the guard's: that one must not be lost. */
function moreTelling(first: unknown, error: unknown): unknown {
  const isVerdict = error instanceof DialError && error.code === "ERR_SELF_CONNECT";
  return first === undefined || isVerdict ? error : first;
}

/** "localhost:80": a host that is a name, or an address in checkAddress's forms. */
function hostAndPort(text: string): { host: string; port: number; scope?: string } {
  const [, name, digits] = /^([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?):(\d+)$/i.exec(text) ?? [];
  if (name === undefined || hostBytes(name) || /^[\d.]+$/.test(name)) return checkAddress(text);
  const port = Number(digits);
  checkPort(port);
  return { host: name, port };
}
