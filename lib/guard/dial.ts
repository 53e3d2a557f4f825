/** dial(): one guarded connection, with attempts, waits and a deadline. Never returns a socket joined to itself. */
import dns from "node:dns/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { exhaustion } from "../kernel/exhaustion.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, checkPort, formatAddress, hostBytes, toAddress } from "../socket/address.ts";
import type { Attempt, Outcome } from "../socket/errors.ts";
import { checkErrnoName, DialError, SocketError } from "../socket/errors.ts";
import { checkDeadline, checkKeys, invalidArgument, LONGEST_WAIT_MS } from "../socket/misuse.ts";
import type { RouteInput } from "../socket/route.ts";
import { wouldSelfConnect } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { Backoff } from "./backoff.ts";
import { checkBackoff, delayMs } from "./backoff.ts";
import { publishAttempt, publishRejected, selfConnectMessage } from "./channels.ts";
import type { Guard, GuardOptions } from "./guard.ts";
import { checkGuardOptions, GUARD_KEYS } from "./guard-options.ts";
import { isCachedRoutedBack, isOptionSupported, preventiveRanges } from "./prevention.ts";

/** The options of dial(): the local address, the number of attempts, the waits, the deadline, and the guard. */
export interface DialOptions extends GuardOptions {
  /** bind(2) to this address first. With port 0 the kernel picks one: at connect(2) since Linux 4.2, else at bind. */
  readonly local?: Address | string;
  /** At most this many attempts for each address of the peer; default 3. */
  readonly attempts?: number;
  /**
   * The errno names after which dial() tries again. `["ECONNREFUSED"]` waits for a service to come up. Default: [].
   * It always tries again after a self-connect, and after EADDRNOTAVAIL although ports are free.
   */
  readonly retryOn?: readonly string[];
  /** How long to wait between attempts; default: no wait. */
  readonly backoff?: Backoff;
  /** Milliseconds for the whole operation: name lookup, attempts and waits. Default: no limit. */
  readonly deadlineMs?: number;
  /** Ends the dial when it aborts; dial() then rejects with its reason. */
  readonly signal?: AbortSignal;
  /** Called with each attempt when it has ended, also when a later attempt succeeds. */
  readonly onAttempt?: (attempt: Attempt) => void;
}

/** What dial() returns: connect(2) succeeded, and getsockname(2) differs from getpeername(2). */
export interface Dialed {
  /** Connected, and not to itself. The caller closes it. */
  readonly socket: TcpSocket;
  readonly local: Address;
  readonly peer: Address;
  /** Every attempt in order; the last one connected. */
  readonly attempts: readonly Attempt[];
}

const DEFAULT_ATTEMPTS = 3;
const DIAL_KEYS = [
  ...["local", "attempts", "retryOn", "backoff", "deadlineMs", "signal", "onAttempt"],
  ...GUARD_KEYS,
] as const;

/**
 * connect(2), guarded, to "127.0.0.1:80", "localhost:80" (each address of the name in turn) or an Address. Rejects
 * with SocketError for an errno of the kernel; with DialError ERR_SELF_CONNECT when the guard refused or reset a
 * self-connect, ERR_ATTEMPTS when several attempts failed, ERR_DEADLINE; or with the signal's reason.
 */
export async function dial(peer: Address | string, options: DialOptions = {}): Promise<Dialed> {
  return new Dial(peer, options).run();
}

/** One call of dial(). */
class Dial {
  readonly #peer: { readonly host: string; readonly port: number; readonly scope?: string };
  readonly #options: DialOptions;
  readonly #guard: Guard;
  readonly #local: Address | undefined;
  readonly #most: number;
  readonly #attempts: Attempt[] = [];
  readonly #startedAt = performance.now();

  constructor(peer: Address | string, options: DialOptions) {
    checkKeys("dial()", options, DIAL_KEYS);
    this.#peer = typeof peer === "string" ? parseHostAndPort(peer) : checkAddress(peer);
    this.#guard = checkGuardOptions(options).guard!;
    this.#local = options.local === undefined ? undefined : checkAddress(options.local);
    this.#most = options.attempts ?? DEFAULT_ATTEMPTS;
    if (!Number.isInteger(this.#most) || this.#most < 1) {
      const message = `attempts ${this.#most} is not a count: use 1 or more`;
      throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
    }
    const { deadlineMs } = options;
    checkDeadline(deadlineMs);
    checkBackoff(options.backoff);
    for (const name of options.retryOn ?? []) checkErrnoName(name);
    this.#options = options;
  }

  /** Tries the addresses in turn. If all fail, throws the first error: the first address is the preferred one. */
  async run(): Promise<Dialed> {
    this.#options.signal?.throwIfAborted();
    const peers = await this.#resolve();
    let first: unknown;
    for (const peer of peers) {
      try {
        return await this.#dialAddress(peer);
      } catch (error) {
        first = preferError(first, error);
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

  /** Makes one connect(2), and resets the socket if it is joined to itself. */
  async #attempt(peer: Address): Promise<Dialed | { readonly error: unknown }> {
    const startedAt = performance.now();
    const socket = TcpSocket.open(this.#local?.family ?? peer.family, this.#openOptions());
    try {
      await this.#connect(socket, peer);
      const local = socket.getsockname();
      const isRejected = this.#guard !== "off" && socket.isSelfConnected();
      const outcome = isRejected ? "self-connect" : "connected";
      const attempt = this.#report({ outcome, peer, local, elapsedMs: performance.now() - startedAt });
      if (!isRejected) return { socket, local, peer, attempts: this.#attempts };
      socket.reset();
      publishRejected(attempt, true);
      return { error: attempt };
    } catch (error) {
      const local = socket.closed ? undefined : socket.getsockname();
      socket.reset();
      const outcome = outcomeOf(error);
      const hasPort = local !== undefined && local.port !== 0;
      if (outcome)
        this.#report({ outcome, peer, ...(hasPort && { local }), elapsedMs: performance.now() - startedAt });
      return { error };
    }
  }

  /** bind(2) to the local address, if any, then connect(2): from the next preventive range if one is exhausted. */
  async #connect(socket: TcpSocket, peer: Address): Promise<void> {
    const isFixed = this.#local !== undefined && this.#local.port !== 0;
    const ranges = isFixed ? [] : preventiveRanges(peer, this.#guard, this.#route());
    if (ranges.length > 0) socket.setsockopt("localPortRange", ranges[0]!);
    if (this.#local) socket.bind(this.#local);
    let result = connectUnlessExhausted(socket, peer);
    for (const range of ranges.slice(1)) {
      if (!(result instanceof SocketError)) break;
      socket.setsockopt("localPortRange", range);
      result = connectUnlessExhausted(socket, peer);
    }
    if (result instanceof SocketError) throw result;
    if (result === "connected") return;
    const { signal, deadlineMs } = this.#options;
    await socket.connected({
      ...(signal && { signal }),
      ...(deadlineMs !== undefined && { deadlineMs: Math.max(0, this.#leftMs()) }),
    });
  }

  #route(): RouteInput {
    return { local: this.#local, options: this.#options.options };
  }

  /** With local port 0, connect(2) picks the port and not bind(2): only connect knows the range and the four-tuple. */
  #openOptions(): NonNullable<GuardOptions["options"]> {
    const isLate = this.#local?.port === 0 && isOptionSupported("bindAddressNoPort");
    return { ...(isLate && { bindAddressNoPort: true }), ...this.#options.options };
  }

  /** Throws if the local port is fixed to the peer's: that connect can only end in a self-connect. */
  #refuseFixedPort(peer: Address): void {
    if (this.#guard === "off" || !this.#local) return;
    const isRoutedBack = isCachedRoutedBack(peer, this.#route()) === true;
    if (!wouldSelfConnect(this.#local, peer, isRoutedBack)) return;
    const attempt = this.#report({ outcome: "self-connect", peer, local: this.#local, elapsedMs: 0 });
    publishRejected(attempt, false);
    const message = selfConnectMessage(formatAddress(peer), [attempt], false);
    throw new DialError("ERR_SELF_CONNECT", message, this.#attempts);
  }

  #isWorthAnother(error: unknown): boolean {
    const outcome = outcomeOf(error);
    if (outcome === "self-connect") return true;
    if (outcome === null || outcome === "deadline") return false;
    if (this.#options.retryOn?.includes(outcome)) return true;
    // Ports are free: the kernel lost a race for one of them and gave up.
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
    const cause = isExhaustion(error) ? withExhaustion(error as SocketError) : error;
    if (made === 1 || outcome === null) return cause;
    const message = `not connected to ${where} after ${made} attempts; the last ended in ${outcome}`;
    return new DialError("ERR_ATTEMPTS", message, this.#attempts, cause);
  }

  /** Waits until the next attempt is due. Throws if the deadline comes first. */
  async #wait(made: number): Promise<void> {
    const waitMs = delayMs(this.#options.backoff, made);
    const leftMs = this.#leftMs();
    const { signal } = this.#options;
    if (waitMs > 0) await sleep(Math.min(waitMs, leftMs), undefined, { signal }).catch(() => undefined);
    signal?.throwIfAborted();
    if (leftMs <= waitMs) throw this.#deadlineError();
  }

  /** The addresses of the host: by dns.lookup(), in its order and within the deadline, unless it is numeric. */
  async #resolve(): Promise<readonly Address[]> {
    const { host, port, scope } = this.#peer;
    if (hostBytes(host)) return [toAddress(scope === undefined ? host : `${host}%${scope}`, port)];
    const ended = new AbortController();
    const family = this.#local?.family ?? 0;
    try {
      const lookup = dns.lookup(host, { all: true, family });
      const found = await Promise.race([lookup, this.#rejectInTime(ended.signal)]);
      return found.map(({ address }) => toAddress(address, port));
    } finally {
      ended.abort();
    }
  }

  /** Rejects at the deadline or when the signal aborts, unless `over` aborts first. */
  async #rejectInTime(over: AbortSignal): Promise<never> {
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

  #report(attempt: Attempt): Attempt {
    this.#attempts.push(attempt);
    publishAttempt(attempt);
    this.#options.onAttempt?.(attempt);
    return attempt;
  }
}

/** connect(2). Returns EADDRNOTAVAIL instead of throwing it, because another range may have a free port. */
function connectUnlessExhausted(socket: TcpSocket, peer: Address): "connected" | "in-progress" | SocketError {
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

/** The same error; its message also has the range and the number of its ports in use. */
function withExhaustion(error: SocketError): SocketError {
  const found = exhaustion(error.peer!);
  if (!found) return error;
  return new SocketError(error.errno, { syscall: error.syscall, peer: error.peer!, fix: found.text });
}

/** The outcome of an attempt or of its error; null for an error that is no outcome (an abort, a wrong argument). */
function outcomeOf(error: unknown): Outcome | null {
  if (error instanceof SocketError) return error.code;
  if (error instanceof DialError) return error.code === "ERR_DEADLINE" ? "deadline" : "self-connect";
  return isAttempt(error) ? error.outcome : null;
}

function isAttempt(value: unknown): value is Attempt {
  return value !== null && typeof value === "object" && "outcome" in value;
}

/** Prefers the first error, unless the later one is the guard's: a self-connect must not go unreported. */
function preferError(first: unknown, error: unknown): unknown {
  const isVerdict = error instanceof DialError && error.code === "ERR_SELF_CONNECT";
  return first === undefined || isVerdict ? error : first;
}

/** Parses "localhost:80", or an address in one of checkAddress's forms. */
function parseHostAndPort(text: string): { host: string; port: number; scope?: string } {
  const [, name, digits] = /^([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?):(\d+)$/i.exec(text) ?? [];
  if (name === undefined || hostBytes(name) || /^[\d.]+$/.test(name)) return checkAddress(text);
  const port = Number(digits);
  checkPort(port);
  return { host: name, port };
}
