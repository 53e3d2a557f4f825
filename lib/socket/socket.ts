/** TcpSocket: one kernel socket. The system calls under their own names, and nothing between. */

import net from "node:net";
import { inspect } from "node:util";
import type { Address } from "./address.ts";
import { ADDRESS_BYTES, addressBytes, checkAddress, decodeAddress, interfaceName } from "./address.ts";
import type { Attempt, SocketErrorContext } from "./errors.ts";
import { DialError, errnoName, SocketError, threadError } from "./errors.ts";
import { invalidArgument } from "./misuse.ts";
import type { Handle, Native, OptionRow } from "./native.ts";
import { loadNative } from "./native.ts";
import type { OptionName, SocketOptions } from "./options.ts";
import { decodeOption, encodeOption, optionIndex, optionRoom } from "./options.ts";
import { giveTurn, watchWritable } from "./reactor.ts";
import { isSelfConnect } from "./self-connect.ts";
import { SharedWait } from "./shared-wait.ts";

const DEFAULT_BACKLOG = 511;
const LONGEST_WAIT_MS = 2 ** 31 - 1;
/** Only this file has it: the constructor is not for users. */
const OPENED_HERE = Symbol("TcpSocket.open");

/**
 * What ends the wait of connected() before the connect has ended; without either it waits as long as the kernel
 * tries.
 */
export interface ConnectedLimits {
  /** Milliseconds from now; afterwards ERR_DEADLINE. The socket stays open and goes on connecting. */
  readonly deadlineMs?: number;
  /** Its reason rejects the wait. The socket stays open and goes on connecting. */
  readonly signal?: AbortSignal;
}

/** What has become of a socket: one of these at a time. */
type State =
  | { readonly name: "unconnected" | "listening" | "closed" }
  | {
      readonly name: "connecting";
      readonly peer: Address /** Null while nobody waits. */;
      wait: SharedWait | null;
    }
  | { readonly name: "connected"; readonly peer: Address | null }
  | { readonly name: "failed"; readonly peer: Address; readonly error: SocketError };

type Connecting = Extract<State, { name: "connecting" }>;

/**
 * "failed": the last connect(2) did not connect. connected() rejects with its error, and connect() may be called again.
 */
export type SocketState = State["name"];

/** One TCP socket: nonblocking, close-on-exec, and with one owner. */
export class TcpSocket implements Disposable {
  readonly #native: Native;
  readonly #handle: Handle;
  #state: State;

  /** socket(2), then setsockopt(2) for each option in the order given. Throws SocketError EMFILE, EAFNOSUPPORT … */
  static open(family: 4 | 6, options: Partial<SocketOptions> = {}): TcpSocket {
    if (family !== 4 && family !== 6) {
      throw invalidArgument("ERR_INVALID_FAMILY", `family ${String(family)} is neither 4 nor 6`);
    }
    const native = loadNative();
    const socket = new TcpSocket(OPENED_HERE, native, native.handle(), { name: "unconnected" });
    socket.#must(native.socket(socket.#handle, family), { syscall: "socket" });
    try {
      for (const [name, value] of Object.entries(options)) {
        if (value !== undefined) socket.setsockopt(name as OptionName, value as never);
      }
    } catch (error) {
      socket.close();
      throw error;
    }
    return socket;
  }

  /** @internal Adopts the connected socket that a native call put into a handle. */
  static adopt(handle: Handle): TcpSocket {
    return new TcpSocket(OPENED_HERE, loadNative(), handle, { name: "connected", peer: null });
  }

  /**
   * @internal connect(2) of two bound sockets to each other at the same moment, so that their SYN cross. Both
   * then have connected() to say how it ended. Throws SocketError for what the kernel refuses at once.
   */
  static meet(one: TcpSocket, other: TcpSocket): void {
    const native = one.#native;
    const locals = [one.getsockname(), other.getsockname()] as const;
    const [ofOne, ofOther] = locals.map((local) => addressBytes(local, native)) as [Uint8Array, Uint8Array];
    const answers = new Int32Array(2);
    const met = native.meet(one.#open, ofOther, other.#open, ofOne, answers);
    if (met < 0) throw threadError(met, "connect");
    one.#enterConnect(answers[0]!, locals[1]);
    other.#enterConnect(answers[1]!, locals[0]);
  }

  /** @internal Use TcpSocket.open(). */
  constructor(opener: typeof OPENED_HERE, native: Native, handle: Handle, state: State) {
    if (opener !== OPENED_HERE) {
      throw invalidArgument(
        "ERR_ILLEGAL_CONSTRUCTOR",
        "use TcpSocket.open(family, options), not new TcpSocket()",
      );
    }
    this.#native = native;
    this.#handle = handle;
    this.#state = state;
  }

  /** The file descriptor; -1 once the socket is closed or released. */
  get fd(): number {
    return this.#native.fd(this.#handle);
  }

  /** What has become of the socket, as far as this object was asked: a connect ends in connected(), not by itself. */
  get state(): SocketState {
    return this.#state.name;
  }

  /** Whether the socket was closed, reset or released. */
  get closed(): boolean {
    return this.#state.name === "closed";
  }

  /** bind(2). Port 0 lets the kernel pick: autobind. Throws SocketError EADDRINUSE, EADDRNOTAVAIL, EACCES … */
  bind(local: Address | string): this {
    const address = checkAddress(local);
    const bytes = addressBytes(address, this.#native);
    this.#must(this.#native.bind(this.#open, bytes), { syscall: "bind", local: address });
    return this;
  }

  /**
   * connect(2), which never blocks here. "in-progress" (EINPROGRESS) is followed by connected(). Throws
   * SocketError for what the kernel refuses at once: EADDRNOTAVAIL when the ephemeral range is exhausted,
   * ENETUNREACH, EADDRINUSE … The socket has then failed, as after a refusal, and may connect again. EALREADY and
   * EISCONN are about the connect before, which goes on or stands.
   */
  connect(peer: Address | string): "connected" | "in-progress" {
    const address = checkAddress(peer);
    const bytes = addressBytes(address, this.#native);
    let answer = this.#native.connect(this.#open, bytes);
    // On Linux the first connect(2) after an error that SO_ERROR told answers ECONNABORTED: that is the end of the
    // old connect (inet_stream_connect in net/ipv4/af_inet.c), and only the next one is a new connect.
    if (this.#state.name === "failed" && answer < 0 && errnoName(answer) === "ECONNABORTED") {
      answer = this.#native.connect(this.#open, bytes);
    }
    return this.#enterConnect(answer, address);
  }

  /**
   * Waits until the connect in progress has ended: epoll(7), then SO_ERROR, then getpeername(2). Resolves at once
   * when it is connected already. Rejects with the SocketError that connect(2) would have given, each time it is
   * asked until the next connect(); with DialError ERR_DEADLINE, or the signal's reason: the socket then goes on
   * connecting, and may be waited for again. Any number of callers may wait.
   */
  async connected(limits: ConnectedLimits = {}): Promise<this> {
    const { deadlineMs, signal } = limits;
    checkDeadline(deadlineMs);
    this.#assertOpen();
    signal?.throwIfAborted();
    // On loopback the answer is mostly there already, and asking for it costs less than waiting for it.
    const settled = this.#state.name === "connecting" ? this.#settle(this.#state, false) : this.#state;
    if (settled.name === "connecting") await this.#wait(settled, limits);
    else if (settled.name === "failed" || settled.name === "connected") await giveTurn();
    else throw invalidArgument("ERR_NOT_CONNECTING", "call connect() before connected()");
    if (settled.name === "failed") throw settled.error;
    this.#assertOpen();
    return this;
  }

  /** listen(2). */
  listen(backlog: number = DEFAULT_BACKLOG): this {
    if (!Number.isInteger(backlog) || backlog < 0 || backlog > 2 ** 31 - 1) {
      throw invalidArgument("ERR_INVALID_BACKLOG", `backlog ${backlog} is not a count`, RangeError);
    }
    this.#must(this.#native.listen(this.#open, backlog), { syscall: "listen" });
    this.#enter({ name: "listening" });
    return this;
  }

  /** accept4(2): the next connection, or null when none waits (EAGAIN). */
  accept(): TcpSocket | null {
    const handle = this.#native.handle();
    const answer = this.#native.accept(this.#open, handle);
    if (answer < 0 && errnoName(answer) === "EAGAIN") return null;
    this.#must(answer, { syscall: "accept" });
    return TcpSocket.adopt(handle);
  }

  /**
   * getsockname(2). Before bind and connect: port 0. After a refused connect Linux still tells the port that
   * was used; other kernels need not.
   */
  getsockname(): Address {
    const bytes = new Uint8Array(ADDRESS_BYTES);
    this.#must(this.#native.getsockname(this.#open, bytes), { syscall: "getsockname" });
    return this.#decoded(bytes);
  }

  /** getpeername(2). Throws SocketError ENOTCONN while there is no peer. */
  getpeername(): Address {
    const bytes = new Uint8Array(ADDRESS_BYTES);
    this.#must(this.#native.getpeername(this.#open, bytes), { syscall: "getpeername" });
    return this.#decoded(bytes);
  }

  /** getsockopt(2). Throws ERR_UNKNOWN_OPTION, ERR_OPTION_UNSUPPORTED. */
  getsockopt<N extends OptionName>(name: N): SocketOptions[N] {
    const index = optionIndex(this.#native.options, name);
    const row = this.#native.options[index]!;
    const room = optionRoom(row);
    const count = this.#optionAnswer(row, this.#native.getsockopt(this.#open, index, room), "getsockopt");
    const { informationFields: fields, tcpStates: states } = this.#native;
    return decodeOption(row, room, count, { fields, states }) as SocketOptions[N];
  }

  /**
   * setsockopt(2). Throws ERR_UNKNOWN_OPTION, ERR_OPTION_VALUE, ERR_OPTION_READ_ONLY, ERR_OPTION_UNSUPPORTED;
   * SocketError EPERM …
   */
  setsockopt<N extends OptionName>(name: N, value: SocketOptions[N]): this {
    const index = optionIndex(this.#native.options, name);
    const row = this.#native.options[index]!;
    const encoded = encodeOption(row, value);
    this.#optionAnswer(row, this.#native.setsockopt(this.#open, index, encoded), "setsockopt");
    return this;
  }

  /**
   * getsockopt(2), SO_ERROR: takes the pending error; the next call returns null. Of a connect in progress it is
   * the end: the socket has failed, and connected() rejects with the same error.
   */
  takeError(): SocketError | null {
    const errno = this.#must(this.#native.takeError(this.#open), { syscall: "getsockopt" });
    if (errno === 0) return null;
    if (this.#state.name === "connecting") return this.#fail(-errno, this.#state).error;
    return new SocketError(-errno, { syscall: "getsockopt", ...this.#names() });
  }

  /** getsockname(2) equals getpeername(2); false while there is no peer. */
  isSelfConnected(): boolean {
    const { local, peer } = this.#kernelNames();
    return local !== undefined && peer !== undefined && isSelfConnect(local, peer);
  }

  /** send(2) without SIGPIPE: the bytes that the kernel took; 0 when its buffer is full (EAGAIN). */
  send(bytes: Uint8Array): number {
    return this.#transferred(this.#native.send(this.#open, bytes), "send") ?? 0;
  }

  /** recv(2): the bytes read, 0 at the end of the stream, null when none are there yet (EAGAIN). */
  recv(into: Uint8Array): number | null {
    return this.#transferred(this.#native.recv(this.#open, into), "recv");
  }

  /** shutdown(2). */
  shutdown(how: "read" | "write" | "both"): this {
    if (how !== "read" && how !== "write" && how !== "both") {
      throw invalidArgument("ERR_INVALID_SHUTDOWN", `"${String(how)}" is not "read", "write" or "both"`);
    }
    this.#must(this.#native.shutdown(this.#open, how), { syscall: "shutdown", ...this.#names() });
    return this;
  }

  /** SO_LINGER {1, 0}, then close(2): RST, and no TIME-WAIT. The port is free at once. Idempotent. */
  reset(): void {
    this.#end("reset", "reset()");
  }

  /** close(2). Idempotent. */
  close(): void {
    this.#end("close", "close()");
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Gives the file descriptor away, once: whoever takes it closes it. */
  release(): number {
    this.#assertOpen();
    const fd = this.#native.release(this.#handle);
    this.#enter({ name: "closed" }, "release()");
    return fd;
  }

  /** Hands the connection over to Node: a net.Socket on the same file descriptor. Throws ERR_NOT_CONNECTED. */
  toStream(): net.Socket {
    this.#assertOpen();
    if (this.#state.name !== "connected") {
      const mend =
        this.#state.name === "listening"
          ? "use server.listen({ fd: socket.release() })"
          : "await connected() first";
      throw invalidArgument(
        "ERR_NOT_CONNECTED",
        `toStream() takes a connected socket, and this one is ${this.#state.name}: ${mend}`,
      );
    }
    return new net.Socket({ fd: this.release(), readable: true, writable: true });
  }

  /** For logs: the descriptor, the state, and both names as the kernel has them. */
  toJSON(): {
    readonly fd: number;
    readonly state: SocketState;
    readonly local?: Address;
    readonly peer?: Address;
  } {
    return { fd: this.fd, state: this.state, ...(!this.closed && this.#kernelNames()) };
  }

  [inspect.custom](_depth: number, options: object): string {
    return `TcpSocket ${inspect(this.toJSON(), options)}`;
  }

  /** The handle of an open socket; throws ERR_SOCKET_CLOSED. */
  get #open(): Handle {
    this.#assertOpen();
    return this.#handle;
  }

  #assertOpen(): void {
    if (this.closed) throw invalidArgument("ERR_SOCKET_CLOSED", "the socket was closed, reset or released");
  }

  /** The state that an answer of connect(2) leads to. */
  #enterConnect(answer: number, peer: Address): "connected" | "in-progress" {
    // While a connect is in progress, the answer is about that one.
    const asked = this.#state.name === "connecting" ? this.#state.peer : peer;
    if (answer < 0) {
      const error = new SocketError(answer, { syscall: "connect", peer: asked });
      if (error.code !== "EALREADY" && error.code !== "EISCONN")
        this.#enter({ name: "failed", peer: asked, error });
      throw error;
    }
    if (answer === 0) this.#enter({ name: "connected", peer: asked });
    else if (this.#state.name !== "connecting") this.#enter({ name: "connecting", peer: asked, wait: null });
    return answer === 0 ? "connected" : "in-progress";
  }

  /** The only place where the state changes. Whoever waits for the connect before learns how that one ended. */
  #enter(next: State, by = "connect()"): void {
    const last = this.#state;
    this.#state = next;
    if (last.name !== "connecting") return;
    if (next.name === "connected") last.wait?.end();
    else if (next.name === "failed") last.wait?.end(next.error);
    else last.wait?.end(invalidArgument("ERR_SOCKET_CLOSED", `${by} was called while connected() waited`));
  }

  #fail(answer: number, { peer }: Connecting): Extract<State, { name: "failed" }> {
    const error = new SocketError(answer, { syscall: "connect", ...this.#names() });
    const failed = { name: "failed", peer, error } as const;
    this.#enter(failed);
    return failed;
  }

  #must(answer: number, context: SocketErrorContext): number {
    if (answer >= 0) return answer;
    throw new SocketError(answer, context);
  }

  #optionAnswer(row: OptionRow, answer: number, syscall: string): number {
    if (answer >= 0) return answer;
    const code = errnoName(answer);
    if (!row.inBuild || code === "ENOPROTOOPT" || code === "ENOTSUP") {
      const why = row.ipv6Only ? "it is an option of IPv6 sockets" : `Linux has it since ${row.since}`;
      const message = `${row.name} (${row.constant}) is not supported here: ${why}`;
      throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
    }
    const mend = code === "EPERM" && row.capability ? `it needs ${row.capability}` : row.manual;
    throw new SocketError(answer, { syscall, mend: `${row.constant}, ${mend}` });
  }

  #decoded(bytes: Uint8Array): Address {
    return decodeAddress(bytes, (index) => interfaceName(index, this.#native));
  }

  /** Both names as the kernel has them now; absent where it has none. */
  #kernelNames(): { local?: Address; peer?: Address } {
    const bytes = new Uint8Array(ADDRESS_BYTES);
    const local = this.#native.getsockname(this.#open, bytes) < 0 ? undefined : this.#decoded(bytes);
    const peer = this.#native.getpeername(this.#open, bytes) < 0 ? undefined : this.#decoded(bytes);
    return { ...(local && { local }), ...(peer && { peer }) };
  }

  /** For errors: the peer that was asked for, and the local address once it has a port. */
  #names(): { local?: Address; peer?: Address } {
    const { local, peer } = this.#kernelNames();
    const asked = "peer" in this.#state ? this.#state.peer : null;
    return { ...(local?.port && { local }), ...((asked ?? peer) && { peer: (asked ?? peer)! }) };
  }

  /** The count of send(2) or recv(2); null for EAGAIN. Either may be told the error of a connect in progress. */
  #transferred(answer: number, syscall: "send" | "recv"): number | null {
    if (answer >= 0) return answer;
    const code = errnoName(answer);
    if (code === "EAGAIN") return null;
    const error = new SocketError(answer, { syscall, ...this.#names() });
    if (this.#state.name === "connecting" && code !== "ENOTCONN") this.#fail(answer, this.#state);
    throw error;
  }

  /** Asks the kernel how the connect stands, and enters the state that it is in. */
  #settle(connecting: Connecting, isReady: boolean): State {
    const errno = this.#must(this.#native.takeError(this.#open), { syscall: "getsockopt" });
    if (errno !== 0) return this.#fail(-errno, connecting);
    const answer = this.#native.getpeername(this.#open, new Uint8Array(ADDRESS_BYTES));
    if (answer >= 0) return this.#endConnect(0, connecting);
    // The poller says that it has ended, yet there is neither error nor peer: somebody else has taken the error, by
    // the descriptor. A second connect(2) of a connect that has ended starts nothing, and has the last word.
    if (!isReady) return connecting;
    return this.#endConnect(
      this.#native.connect(this.#open, addressBytes(connecting.peer, this.#native)),
      connecting,
    );
  }

  /** The state that an answer about the connect in progress leads to: 1 and EALREADY say that it goes on. */
  #endConnect(answer: number, connecting: Connecting): State {
    const code = answer < 0 ? errnoName(answer) : null;
    if (answer === 0 || code === "EISCONN") this.#enter({ name: "connected", peer: connecting.peer });
    else if (code !== null && code !== "EALREADY") this.#fail(answer, connecting);
    return this.#state;
  }

  #newWait(): SharedWait {
    const start = (ready: () => void) => watchWritable(this.#native, this.#handle, ready);
    const isOver = () =>
      this.#state.name !== "connecting" || this.#settle(this.#state, true).name !== "connecting";
    return new SharedWait(start, isOver);
  }

  async #wait(connecting: Connecting, limits: ConnectedLimits): Promise<void> {
    const { peer } = connecting;
    connecting.wait ??= this.#newWait();
    await connecting.wait.wait({
      ...limits,
      deadlineError: (elapsedMs) => this.#deadlineError(peer, elapsedMs),
    });
  }

  #deadlineError(peer: Address, elapsedMs: number): DialError {
    const attempt: Attempt = { outcome: "deadline", elapsedMs, ...this.#names(), peer };
    const message = `no answer to connect after ${Math.round(elapsedMs)} ms`;
    return new DialError("ERR_DEADLINE", message, [attempt]);
  }

  #end(how: "close" | "reset", by: string): void {
    if (this.closed) return;
    this.#enter({ name: "closed" }, by);
    this.#native[how](this.#handle);
  }
}

function checkDeadline(deadlineMs: number | undefined): void {
  if (deadlineMs === undefined || (deadlineMs >= 0 && deadlineMs <= LONGEST_WAIT_MS)) return;
  const message = `deadlineMs ${deadlineMs} is not a time: use 0 to ${LONGEST_WAIT_MS}`;
  throw invalidArgument("ERR_INVALID_DEADLINE", message, RangeError);
}
