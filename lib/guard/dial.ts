/** dial(): one guarded connection, with attempts, waits and a deadline. Never returns a socket joined to itself. */
import dns from "node:dns/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Exhaustion } from "../kernel/exhaustion.ts";
import { exhaustion } from "../kernel/exhaustion.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, checkPeerPort, formatAddress, toAddress } from "../socket/address.ts";
import type { HostAndPort } from "../socket/address-forms.ts";
import { parseHostAndPort } from "../socket/address-forms.ts";
import { checkPort, hostBytes } from "../socket/address-text.ts";
import type { Attempt, DialErrorCode, ErrnoName, Outcome } from "../socket/errors.ts";
import { checkErrnoName, DialError, SocketError } from "../socket/errors.ts";
import { checkLimits } from "../socket/limits.ts";
import { checkArray, checkCallbacks, invalidArgument, LONGEST_WAIT_MS, textOf } from "../socket/misuse.ts";
import type { RouteOrigin } from "../socket/route.ts";
import { wouldSelfConnect } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import { AttemptRecord } from "./attempt-record.ts";
import type { Backoff } from "./backoff.ts";
import { checkBackoff, DEFAULT_BACKOFF, delayMs } from "./backoff.ts";
import { publishAttempt, publishRejected, selfConnectMessage } from "./channels.ts";
import type { Guard, GuardOptions } from "./guard.ts";
import { checkConnectOptions, GUARD_KEYS } from "./guard-options.ts";
import type { LocalAddresses } from "./local-turns.ts";
import { LocalTurns } from "./local-turns.ts";
import { isCachedRoutedBack, isOptionSupported, preventiveRanges } from "./prevention.ts";
import type { Lane } from "./race.ts";
import { interleaveFamilies, race } from "./race.ts";

/** The options of dial(): the local address, the number of attempts, the waits, the deadline, and the guard. */
export interface DialOptions extends GuardOptions {
  /**
   * bind(2) to this address first: "10.0.0.1", "[::1]:4711", or an Address. Without a port, or with port 0, the kernel
   * picks one: at connect(2) since Linux 4.2, else at bind. Of several addresses each attempt takes the next; pass the
   * same array to every dial(), and they go round. An address without a free port is passed over.
   */
  readonly local?: LocalAddresses;
  /** At most this many attempts for each address of the peer; default 3. */
  readonly attempts?: number;
  /**
   * The errno names after which dial() tries again. `["ECONNREFUSED"]` waits for a service to come up; ENOTFOUND and
   * EAI_AGAIN wait for its name, with as many lookups as `attempts`. Default: [].
   * It always tries again after a self-connect, and after EADDRNOTAVAIL although ports are free.
   */
  readonly retryOn?: readonly ErrnoName[];
  /**
   * How long to wait between attempts. Default: after an errno of `retryOn` 50 to 100 ms, doubled up to 2 s, as
   * `{ kind: "exponential", firstMs: 100, mostMs: 2000, jitter: 0.5 }`; else no wait.
   */
  readonly backoff?: Backoff;
  /**
   * Of a name with several addresses the next one begins this many milliseconds after the one before, or at once when
   * an attempt of that one has failed (RFC 8305, happy eyeballs); 10 to 2000, default 250. The first that connects
   * wins, and the others are reset. With a local port fixed they are tried one after another.
   */
  readonly nextAddressMs?: number;
  /** Milliseconds for the whole operation: name lookup, attempts and waits. Default: no limit. */
  readonly deadlineMs?: number;
  /** Ends the dial when it aborts; dial() then rejects with its reason. */
  readonly signal?: AbortSignal;
  /** Called with each attempt when it has ended, also when a later attempt succeeds. */
  readonly onAttempt?: (attempt: Attempt) => void;
}

/**
 * Where dial() connects to: an Address, an object with a host, which may be a name, and a port, or text in one of the
 * forms of parseHostAndPort(): "127.0.0.1:80", "localhost:80", ":8080", "8080", "redis://cache".
 */
export type Peer = string | Address | HostAndPort;

/** What dial() returns: connect(2) succeeded, and getsockname(2) differs from getpeername(2). */
export interface Dialed {
  /** Connected, and not to itself. The caller closes it. */
  readonly socket: TcpSocket;
  /** getsockname(2) of the socket. */
  readonly local: Address;
  /** getpeername(2) of the socket: of a name with several addresses the one that connected. */
  readonly peer: Address;
  /** The attempts in order, of more than 20 the first 10 and the last 10; the last one connected. */
  readonly attempts: readonly Attempt[];
  /** How many attempts there were. */
  readonly attemptCount: number;
}

const DEFAULT_ATTEMPTS = 3;
/** RFC 8305 section 8: the Connection Attempt Delay, its absolute minimum and its maximum. */
const DEFAULT_NEXT_ADDRESS_MS = 250;
const LEAST_NEXT_ADDRESS_MS = 10;
const MOST_NEXT_ADDRESS_MS = 2000;
const DIAL_KEYS = [
  ...["local", "attempts", "retryOn", "backoff", "nextAddressMs", "deadlineMs", "signal", "onAttempt"],
  ...GUARD_KEYS,
] as const;

/**
 * connect(2), guarded, to "127.0.0.1:80", "localhost:80" (the addresses of the name as RFC 8305 has it) or an Address.
 * Rejects with SocketError for an errno of the kernel; with DialError ERR_SELF_CONNECT when the guard refused or reset
 * a self-connect, ERR_ATTEMPTS when several attempts failed, ERR_DEADLINE; or with the signal's reason.
 */
export async function dial(peer: Peer, options: DialOptions = {}): Promise<Dialed> {
  return new Dial(peer, options).run();
}

/** An attempt that connected, and the socket. */
interface Won {
  readonly attempt: Attempt & { readonly local: Address };
  readonly socket: TcpSocket;
}

/** An attempt that did not connect: its error, or for a self-connect the attempt. */
interface Lost {
  readonly error: unknown;
  /** Where connect(2) found no port. */
  readonly exhausted?: Exhaustion | null;
  /** There was no connect(2), and another attempt would end in the same way. */
  readonly isFinal?: true;
}

/** How the attempts at one address ended. */
type Ended = Won | (Lost & { readonly peer: Address; readonly made: number });

/** One call of dial(). */
class Dial {
  readonly #peer: Address | HostAndPort;
  readonly #options: DialOptions;
  readonly #guard: Guard;
  readonly #locals: LocalTurns;
  readonly #most: number;
  readonly #record = new AttemptRecord();
  readonly #startedAt = performance.now();

  constructor(peer: Peer, options: DialOptions) {
    checkLimits("dial()", options, DIAL_KEYS);
    this.#peer = checkPeer(peer);
    this.#guard = checkConnectOptions("dial()", options).guard!;
    this.#locals = new LocalTurns(options.local);
    this.#most = options.attempts ?? DEFAULT_ATTEMPTS;
    if (!Number.isInteger(this.#most) || this.#most < 1) {
      const message = `attempts ${textOf(this.#most)} is not a count: use 1 or more`;
      throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
    }
    checkNextAddress(options.nextAddressMs);
    checkBackoff(options.backoff);
    checkCallbacks(options, ["onAttempt"]);
    checkArray("retryOn takes an array of errno names", options.retryOn ?? []);
    for (const name of options.retryOn ?? []) if (name !== "ENOTFOUND") checkErrnoName(name);
    this.#options = options;
  }

  /** Races the addresses. If all fail, throws the error of the first: it is the preferred one. */
  async run(): Promise<Dialed> {
    const { signal, nextAddressMs = DEFAULT_NEXT_ADDRESS_MS } = this.#options;
    signal?.throwIfAborted();
    const peers = await this.#resolveInTurn();
    const delayMs = this.#locals.isFixed ? Infinity : nextAddressMs;
    const ended = await race({ lanes: peers.length, delayMs, signal }, (index, lane) =>
      this.#dialAddress(peers[index]!, lane),
    );
    const won = ended.find((each) => "socket" in each);
    if (won) return this.#deliver(won);
    signal?.throwIfAborted();
    throw this.#verdict(ended as readonly Exclude<Ended, Won>[]);
  }

  /** Reports the attempt that connected after those that it ended. */
  #deliver({ attempt, socket }: Won): Dialed {
    try {
      this.#report(attempt);
    } catch (error) {
      socket.reset(); // The caller's onAttempt threw.
      throw error;
    }
    const { local, peer } = attempt;
    return { socket, local, peer, attempts: this.#record.list(), attemptCount: this.#record.count };
  }

  async #dialAddress(peer: Address, lane: Lane): Promise<Ended> {
    const locals = this.#locals.for(peer);
    for (let made = 1, passedOver = 0; ; ) {
      const local = this.#locals.next(locals);
      const outcome = await this.#tryAddress(peer, local, lane);
      if ("socket" in outcome) return outcome;
      if (outcomeOf(outcome.error) !== "deadline") lane.beginNext();
      const isPassedOver = outcome.exhausted !== undefined && ++passedOver < locals.length;
      if (isPassedOver && !lane.signal?.aborted) continue;
      if (made >= this.#most || !this.#isWorthAnother(outcome)) return { ...outcome, peer, made };
      const ended = await this.#wait(made, outcome, lane);
      if (ended) return { ...ended, peer, made };
      made++;
    }
  }

  /** Makes one attempt, and asks for the reason when no port was free. Never rejects. */
  async #tryAddress(peer: Address, local: Address | undefined, lane: Lane): Promise<Won | Lost> {
    try {
      if (this.#leftMs() <= 0 && this.#record.count > 0) throw this.#deadlineError();
      this.#refuseFixedPort(peer, local);
      const outcome = await this.#attempt(peer, local, lane);
      const isExhausted = "error" in outcome && isExhaustion(outcome.error) && !local?.port;
      return isExhausted ? { ...outcome, exhausted: await exhaustion(peer, this.#route(local)) } : outcome;
    } catch (error) {
      return { error, isFinal: true };
    }
  }

  /** Makes one connect(2), and resets the socket if it is joined to itself. */
  async #attempt(peer: Address, bound: Address | undefined, lane: Lane): Promise<Won | Lost> {
    const startedAt = performance.now();
    const socket = TcpSocket.open(peer.family, this.#openOptions(bound));
    try {
      await this.#connect(socket, peer, bound, lane);
      const local = socket.getsockname();
      const isRejected = this.#guard !== "off" && socket.isSelfConnected();
      const outcome = isRejected ? "self-connect" : "connected";
      const attempt = { outcome, peer, local, elapsedMs: performance.now() - startedAt } as const;
      if (!isRejected && lane.win()) return { attempt, socket };
      socket.reset();
      this.#report(isRejected ? attempt : { ...attempt, outcome: "abandoned" });
      if (isRejected) publishRejected(attempt, true);
      return { error: attempt };
    } catch (error) {
      const local = socket.closed ? undefined : socket.getsockname();
      socket.reset();
      const outcome = lane.isLost ? "abandoned" : outcomeOf(error);
      const elapsedMs = performance.now() - startedAt;
      if (outcome) this.#report({ outcome, peer, ...(local?.port && { local }), elapsedMs });
      return { error };
    }
  }

  /** bind(2) to the local address, if any, then connect(2): from the next preventive range if one is exhausted. */
  async #connect(socket: TcpSocket, peer: Address, local: Address | undefined, lane: Lane): Promise<void> {
    const ranges = local?.port ? [] : preventiveRanges(peer, this.#guard, this.#route(local));
    if (ranges.length > 0) socket.setsockopt("localPortRange", ranges[0]!);
    if (local) socket.bind(local);
    let result = connectUnlessExhausted(socket, peer);
    for (const range of ranges.slice(1)) {
      if (!(result instanceof SocketError)) break;
      socket.setsockopt("localPortRange", range);
      result = connectUnlessExhausted(socket, peer);
    }
    const { signal } = lane; // connected() rejects with the error of a connect that has failed.
    await socket.connected({
      ...(signal && { signal }),
      ...(this.#options.deadlineMs !== undefined && { deadlineMs: Math.max(0, this.#leftMs()) }),
    });
  }

  #route(local: Address | undefined): RouteOrigin {
    return { local, options: this.#options.options };
  }

  /** With local port 0, connect(2) picks the port and not bind(2): only connect knows the range and the four-tuple. */
  #openOptions(local: Address | undefined): NonNullable<GuardOptions["options"]> {
    const isLate = local?.port === 0 && isOptionSupported("bindAddressNoPort");
    return { ...(isLate && { bindAddressNoPort: true }), ...this.#options.options };
  }

  /** Throws if the local port is fixed to the peer's: that connect can only end in a self-connect. */
  #refuseFixedPort(peer: Address, local: Address | undefined): void {
    if (this.#guard === "off" || !local) return;
    const isRoutedBack = isCachedRoutedBack(peer, this.#route(local)) === true;
    if (!wouldSelfConnect(local, peer, isRoutedBack)) return;
    const attempt = this.#report({ outcome: "self-connect", peer, local, elapsedMs: 0 });
    publishRejected(attempt, false);
    const message = selfConnectMessage(formatAddress(peer), this.#record, false);
    throw this.#dialError("ERR_SELF_CONNECT", message);
  }

  #isWorthAnother({ error, exhausted, isFinal }: Lost): boolean {
    if (isFinal) return false;
    const outcome = outcomeOf(error);
    if (outcome === "self-connect") return true;
    // Ports are free: the kernel lost a race for one of them and gave up.
    return this.#isRetried(outcome) || exhausted?.isReal === false;
  }

  #isRetried(code: string | null): boolean {
    return this.#options.retryOn?.some((name) => name === code) === true;
  }

  /** Waits until the next attempt is due. Returns as #pause() does. */
  #wait(made: number, { error }: Lost, lane: Lane): Promise<Lost | null> {
    const isAsked = this.#isRetried(outcomeOf(error));
    return this.#pause(delayMs(this.#options.backoff ?? (isAsked ? DEFAULT_BACKOFF : undefined), made), lane);
  }

  /** Returns null after the time; at the deadline or an abort, whose reason may be null too, what ended it. */
  async #pause(
    waitMs: number,
    { signal }: { readonly signal?: AbortSignal | undefined },
  ): Promise<Lost | null> {
    const leftMs = this.#leftMs();
    if (waitMs > 0)
      await sleep(Math.min(waitMs, leftMs), undefined, { ...(signal && { signal }) }).catch(() => undefined);
    if (signal?.aborted) return { error: signal.reason };
    return leftMs <= waitMs ? { error: this.#deadlineError() } : null;
  }

  /** The error of a dial of which every address failed. A self-connect must not go unreported. */
  #verdict(ended: readonly Exclude<Ended, Won>[]): unknown {
    const outcomes = ended.map(({ error }) => outcomeOf(error));
    const joined = outcomes.indexOf("self-connect");
    const { error, exhausted, peer, made } = ended[Math.max(joined, 0)]!;
    if (joined < 0 && outcomes.includes("deadline")) return this.#deadlineError();
    const outcome = outcomeOf(error);
    const where = formatAddress(peer);
    if (outcome === "self-connect") {
      if (error instanceof DialError) return error;
      return this.#dialError("ERR_SELF_CONNECT", selfConnectMessage(where, this.#record, true));
    }
    const cause = exhausted ? withExhaustion(error as SocketError, exhausted) : error;
    if (made === 1 || outcome === null) return cause;
    const message = `not connected to ${where} after ${made} attempts; the last ended in ${outcome}`;
    return this.#dialError("ERR_ATTEMPTS", message, cause);
  }

  /** Looks the name up, again after each error that `retryOn` names, up to `attempts` times. */
  async #resolveInTurn(): Promise<readonly Address[]> {
    for (let made = 1; ; made++) {
      try {
        return await this.#resolve();
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (made >= this.#most || !code || !this.#isRetried(code)) throw error;
        const ended = await this.#pause(
          delayMs(this.#options.backoff ?? DEFAULT_BACKOFF, made),
          this.#options,
        );
        if (ended) throw ended.error;
      }
    }
  }

  /** The addresses of the host: by dns.lookup(), in its order and within the deadline, unless it is numeric. */
  async #resolve(): Promise<readonly Address[]> {
    if ("family" in this.#peer) return [this.#peer];
    const { host, port } = this.#peer;
    const ended = new AbortController();
    const { family } = this.#locals;
    try {
      const lookup = dns.lookup(host, { all: true, family });
      const found = await Promise.race([lookup, this.#rejectInTime(ended.signal)]);
      return interleaveFamilies(found.map(({ address }) => toAddress(address, port)));
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
    const { count } = this.#record;
    const outcome = this.#record.last?.outcome ?? "deadline";
    const last = outcome === "deadline" ? "" : `; the last ended in ${outcome}`;
    const spent = `${count} attempt${count === 1 ? "" : "s"}${last}`;
    const message = `not connected to ${host}:${port} within ${this.#options.deadlineMs} ms (${spent})`;
    return this.#dialError("ERR_DEADLINE", message);
  }

  #dialError(code: DialErrorCode, message: string, cause?: unknown): DialError {
    return new DialError(code, message, this.#record.list(), cause, this.#record.count);
  }

  #report(attempt: Attempt): Attempt {
    this.#record.add(attempt);
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
function withExhaustion(error: SocketError, { text }: Exhaustion): SocketError {
  return new SocketError(error.errno, { syscall: error.syscall, peer: error.peer!, fix: text });
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

function checkNextAddress(ms: number = DEFAULT_NEXT_ADDRESS_MS): void {
  if (typeof ms === "number" && ms >= LEAST_NEXT_ADDRESS_MS && ms <= MOST_NEXT_ADDRESS_MS) return;
  const bounds = `${LEAST_NEXT_ADDRESS_MS} to ${MOST_NEXT_ADDRESS_MS}`;
  const message = `nextAddressMs ${textOf(ms)} is not a time: use ${bounds}`;
  throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
}

/** An address, or a name with a port. */
function checkPeer(peer: Peer): Address | HostAndPort {
  const parsed = parsePeer(peer);
  checkPeerPort(parsed.port);
  return parsed;
}

function parsePeer(peer: Peer): Address | HostAndPort {
  if (typeof peer !== "string" && !isNamed(peer)) return checkAddress(peer as Address);
  const { host, port } = parseHostAndPort(typeof peer === "string" ? peer : `${peer.host}:${peer.port}`);
  return hostBytes(host.split("%")[0]!) ? toAddress(host, port) : { host, port };
}

/** Whether the host of an object is a name. */
function isNamed(peer: Address | HostAndPort): boolean {
  if (peer === null || typeof peer !== "object" || "family" in peer || typeof peer.host !== "string")
    return false;
  checkPort(peer.port);
  return hostBytes(peer.host.split("%")[0]!) === null;
}
