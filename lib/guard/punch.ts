/** punch(): TCP hole punching by simultaneous open (RFC 5128, section 3.4). */
import { setTimeout as sleep } from "node:timers/promises";
import type { Address, LocalAddress } from "../socket/address.ts";
import {
  checkLocalAddress,
  checkPeer,
  checkSameFamily,
  formatAddress,
  isSameAddress,
} from "../socket/address.ts";
import type { Attempt, Outcome } from "../socket/errors.ts";
import { DialError, SocketError } from "../socket/errors.ts";
import { checkLimits } from "../socket/limits.ts";
import { checkFlags } from "../socket/misuse.ts";
import { wouldSelfConnect } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import { countAttempts, publishAttempt, publishRejected, selfConnectMessage } from "./channels.ts";
import type { Dialed } from "./dial.ts";
import { isCachedRoutedBack, isOptionSupported } from "./prevention.ts";

/** The options of punch(). */
export interface PunchOptions {
  /** Milliseconds until punch() gives up; default 30,000. */
  readonly deadlineMs?: number;
  /** Ends the punch when it aborts; punch() then rejects with its reason. */
  readonly signal?: AbortSignal;
  /**
   * Whether the port also listens, for a SYN of the peer's that arrives between two attempts. Default true. Without
   * it, two hosts whose kernels refuse each SYN at once, with no NAT that drops it, seldom meet.
   */
  readonly listen?: boolean;
}

const NAMES = ["deadlineMs", "signal", "listen"];
const DEFAULT_DEADLINE_MS = 30_000;
/** The first attempt lasts this long to twice as long; each lasts longer, because one must outlast a round trip. */
const FIRST_ATTEMPT_MS = 100;
const LONGEST_ATTEMPT_MS = 3000;
/** How often the listener is asked for a connection, and the connect whether it has ended. */
const STEP_MS = 10;
/** Hosts send packets with 64 or 128, which each router lowers. */
const HIGHEST_TTL = 255;

/** No hole yet: the peer, or a NAT before it, did not expect the SYN. */
const NOT_YET: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EADDRNOTAVAIL",
]);

/**
 * bind(2) with SO_REUSEADDR and SO_REUSEPORT, listen(2), then connect(2) again and again from the same port, each
 * attempt of random length, until the SYN of one side meets that of the other or finds its listener: both sides call
 * punch() at about the same time, each with the address under which the NATs show the other. With local port 0 the
 * kernel picks one, but then the peer needs to know which. The result is that of dial(), and never a socket joined to
 * itself: those are reset. Rejects with DialError ERR_DEADLINE, ERR_SELF_CONNECT when both addresses are the same, the
 * signal's reason, ERR_INVALID_ADDRESS for addresses of two families, or SocketError for what waiting does not change:
 * EADDRINUSE of bind(2), ENETUNREACH …
 */
export async function punch(
  local: LocalAddress,
  peer: Address | string,
  options: PunchOptions = {},
): Promise<Dialed> {
  checkLimits("punch()", options, NAMES);
  checkFlags(options, ["listen"]);
  const { deadlineMs = DEFAULT_DEADLINE_MS } = options;
  const [from, to] = [checkLocalAddress(local), checkPeer(peer)];
  checkSameFamily(from, to);
  return new Punch(from, to, deadlineMs, options).run();
}

/** One call of punch(). */
class Punch {
  readonly #peer: Address;
  readonly #deadlineMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #isListening: boolean;
  readonly #attempts: Attempt[] = [];
  readonly #startedAt = performance.now();
  /** With its port, once the first socket is bound. */
  #local: Address;

  constructor(local: Address, peer: Address, deadlineMs: number, { signal, listen = true }: PunchOptions) {
    this.#local = local;
    this.#peer = peer;
    this.#deadlineMs = deadlineMs;
    this.#signal = signal;
    this.#isListening = listen;
  }

  async run(): Promise<Dialed> {
    this.#signal?.throwIfAborted();
    this.#refuseOwnAddress();
    // It holds the port for as long as the punch lasts, whether it listens or not.
    using holder = this.#open();
    this.#local = holder.getsockname();
    this.#refuseOwnAddress();
    if (this.#isListening) holder.listen();
    for (let attemptMs = FIRST_ATTEMPT_MS; ; attemptMs = Math.min(LONGEST_ATTEMPT_MS, attemptMs * 1.5)) {
      const dialed = await this.#attempt(holder, attemptMs * (1 + Math.random()));
      if (dialed) return dialed;
    }
  }

  /** One connect(2), and the time until the next. Returns what connected or was accepted, or null. */
  async #attempt(holder: TcpSocket, attemptMs: number): Promise<Dialed | null> {
    const startedAt = performance.now();
    const socket = this.#open();
    let isKept = false;
    try {
      await this.#tolerate(socket, startedAt, () => socket.connect(this.#peer));
      for (;;) {
        isKept = await this.#isConnected(socket, startedAt);
        const found = isKept ? socket : this.#accept(holder);
        if (found) return this.#check(found, startedAt);
        if (performance.now() - this.#startedAt >= this.#deadlineMs) throw this.#deadlineError();
        if (performance.now() - startedAt >= attemptMs && isUnanswered(socket)) return null;
      }
    } finally {
      if (!isKept) socket.reset();
    }
  }

  /** Waits a step for the connect, or without one for a connection of the listener's. */
  async #isConnected(socket: TcpSocket, startedAt: number): Promise<boolean> {
    if (socket.closed) {
      await sleep(STEP_MS);
      this.#signal?.throwIfAborted();
      return false;
    }
    const limits = { deadlineMs: STEP_MS, ...(this.#signal && { signal: this.#signal }) };
    return this.#tolerate(socket, startedAt, () => socket.connected(limits));
  }

  /** Returns whether `call` succeeded. What is not yet an end is reported, and the socket is closed. */
  async #tolerate(socket: TcpSocket, startedAt: number, call: () => unknown): Promise<boolean> {
    try {
      await call();
      return true;
    } catch (error) {
      if (error instanceof DialError) return false; // The step is over.
      if (!(error instanceof SocketError) || !NOT_YET.has(error.code)) throw error;
      this.#report(error.code, this.#local, startedAt);
      socket.reset();
      return false;
    }
  }

  /** accept(2) of a connection from the peer; others are reset. */
  #accept(holder: TcpSocket): TcpSocket | null {
    if (!this.#isListening) return null;
    for (let socket = holder.accept(); socket; socket = holder.accept()) {
      const { peer } = socket.toJSON();
      if (peer && isSameAddress(peer, this.#peer)) return socket;
      socket.reset();
    }
    return null;
  }

  /** The guard's check. Resets the socket when it is joined to itself, or cannot be asked. */
  #check(socket: TcpSocket, startedAt: number): Dialed {
    try {
      const local = socket.getsockname();
      if (!socket.isSelfConnected()) {
        this.#report("connected", local, startedAt);
        const attempts = this.#attempts;
        return { socket, local, peer: this.#peer, attempts, attemptCount: attempts.length };
      }
      return this.#refuse(local, startedAt);
    } catch (error) {
      socket.reset();
      throw error;
    }
  }

  #refuse(local: Address, startedAt: number): never {
    const attempt = this.#report("self-connect", local, startedAt);
    publishRejected(attempt, true);
    const message = selfConnectMessage(formatAddress(this.#peer), countAttempts(this.#attempts), true);
    throw new DialError("ERR_SELF_CONNECT", message, this.#attempts);
  }

  /** Sockets of one user may share a port when each has SO_REUSEPORT. */
  #open(): TcpSocket {
    const socket = TcpSocket.open(this.#local.family, { reuseAddress: true, reusePort: true });
    try {
      return socket.bind(this.#local);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** A connect from the peer's own address can only end in a self-connect. */
  #refuseOwnAddress(): void {
    const isRoutedBack = isCachedRoutedBack(this.#peer) === true;
    if (!wouldSelfConnect(this.#local, this.#peer, isRoutedBack)) return;
    const attempt = this.#report("self-connect", this.#local, performance.now());
    publishRejected(attempt, false);
    const message = selfConnectMessage(formatAddress(this.#peer), countAttempts(this.#attempts), false);
    throw new DialError("ERR_SELF_CONNECT", message, this.#attempts);
  }

  #report(outcome: Outcome, local: Address, startedAt: number): Attempt {
    const attempt = { outcome, peer: this.#peer, local, elapsedMs: performance.now() - startedAt };
    this.#attempts.push(attempt);
    publishAttempt(attempt);
    return attempt;
  }

  #deadlineError(): DialError {
    const { length } = this.#attempts;
    const where = formatAddress(this.#peer);
    const message = `no hole to ${where} within ${this.#deadlineMs} ms (${length} attempts were refused)`;
    return new DialError("ERR_DEADLINE", message, this.#attempts);
  }
}

/**
 * Whether the SYN got no reply; the socket then gets none any more, and is to be reset. The reset of a socket that has
 * just received the peer's SYN would leave the peer with a connection that has ended. So that none arrives after the
 * state was read, the socket first refuses all packets, by a TTL that they do not have; the peer sends again what it
 * sent meanwhile.
 */
function isUnanswered(socket: TcpSocket): boolean {
  if (socket.closed || !isOptionSupported("information")) return true;
  setLowestTtl(socket, HIGHEST_TTL);
  if (socket.getsockopt("information").state === "SYN-SENT") return true;
  setLowestTtl(socket, 0);
  return false;
}

/** IPV6_MINHOPCOUNT, IP_MINTTL. An IPv6 socket receives IPv4 packets too, of an IPv4-mapped peer. */
function setLowestTtl(socket: TcpSocket, ttl: number): void {
  const { family } = socket.getsockname();
  if (family === 6 && isOptionSupported("minHopCount")) socket.setsockopt("minHopCount", ttl);
  if (isOptionSupported("minTimeToLive")) socket.setsockopt("minTimeToLive", ttl);
}
