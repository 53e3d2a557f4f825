/** TcpSocket: one kernel socket. The system calls under their own names, and nothing between. */
import net from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { onAbort } from "./abort.ts";
import type { Address } from "./address.ts";
import { ADDRESS_BYTES, checkAddress, decodeAddress, encodeAddress } from "./address.ts";
import type { SocketErrorContext } from "./errors.ts";
import { DialError, errnoName, SocketError } from "./errors.ts";
import { invalidArgument } from "./misuse.ts";
import type { Handle, Native, OptionRow } from "./native.ts";
import { loadNative } from "./native.ts";
import type { OptionName, SocketOptions } from "./options.ts";
import { decodeOption, encodeOption, optionIndex } from "./options.ts";
import { writable } from "./reactor.ts";
import { isSelfConnect } from "./self-connect.ts";

/** Room for the longest text option and the largest tcp_info. */
const TEXT_BYTES = 256;
const NUMBERS = 128;
const DEFAULT_BACKLOG = 511;
/** A caller that connects over and over must not keep timers and I/O from their turn for longer than this. */
const TURN_MS = 1;
const LONGEST_WAIT_MS = 2 ** 31 - 1;

let turnedAt = 0;

export interface ConnectedLimits {
  /** Milliseconds from now; afterwards ERR_DEADLINE. The socket stays open and goes on connecting. */
  readonly deadlineMs?: number;
  /** Its reason rejects the wait. The socket stays open and goes on connecting. */
  readonly signal?: AbortSignal;
}

/** One TCP socket: nonblocking, close-on-exec, and with one owner. */
export class TcpSocket implements Disposable {
  readonly #native: Native;
  readonly #handle: Handle;
  #peer: Address | undefined;
  #connecting = false;
  /** An earlier connect on this socket has failed, and SO_ERROR has told so. */
  #refused = false;
  #endWait: ((reason: Error) => void) | undefined;

  /** socket(2), then setsockopt(2) for each option in the order given. Throws SocketError EMFILE, EAFNOSUPPORT … */
  static open(family: 4 | 6, options?: Partial<SocketOptions>): TcpSocket;
  /** @internal With a kernel that a test makes up. */
  static open(family: 4 | 6, options: Partial<SocketOptions>, native: Native): TcpSocket;
  static open(family: 4 | 6, options: Partial<SocketOptions> = {}, native: Native = loadNative()): TcpSocket {
    if (family !== 4 && family !== 6) {
      throw invalidArgument("ERR_INVALID_FAMILY", `family ${String(family)} is neither 4 nor 6`);
    }
    const socket = new TcpSocket(native);
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

  /** @internal Adopts the socket that a native call put into a handle. */
  static adopt(handle: Handle, native: Native = loadNative()): TcpSocket {
    return new TcpSocket(native, handle);
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
    native.meet(one.#open, ofOther, other.#open, ofOne, answers);
    one.#connectAnswered(answers[0]!, locals[1]);
    other.#connectAnswered(answers[1]!, locals[0]);
  }

  private constructor(native: Native, handle: Handle = native.handle()) {
    this.#native = native;
    this.#handle = handle;
  }

  /** The file descriptor; -1 once the socket is closed or released. */
  get fd(): number {
    return this.#native.fd(this.#handle);
  }

  /** Whether the socket was closed, reset or released. */
  get closed(): boolean {
    return this.fd < 0;
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
   * ENETUNREACH, EADDRINUSE …
   */
  connect(peer: Address | string): "connected" | "in-progress" {
    const address = checkAddress(peer);
    const bytes = addressBytes(address, this.#native);
    let answer = this.#native.connect(this.#open, bytes);
    // On Linux the first connect(2) after an error that SO_ERROR told answers ECONNABORTED: that is the end of the
    // old connect (inet_stream_connect in net/ipv4/af_inet.c), and only the next one is a new connect.
    if (this.#refused && answer < 0 && errnoName(answer) === "ECONNABORTED") {
      answer = this.#native.connect(this.#open, bytes);
    }
    this.#refused = false;
    return this.#connectAnswered(answer, address);
  }

  /**
   * Waits until the connect in progress has ended: epoll(7), then SO_ERROR, then getpeername(2). Rejects with
   * the SocketError that connect(2) would have given, DialError ERR_DEADLINE, or the signal's reason.
   */
  async connected(limits: ConnectedLimits = {}): Promise<this> {
    const { deadlineMs, signal } = limits;
    if (deadlineMs !== undefined && !(deadlineMs >= 0 && deadlineMs <= LONGEST_WAIT_MS)) {
      const message = `deadlineMs ${deadlineMs} is not a time: use 0 to ${LONGEST_WAIT_MS}`;
      throw invalidArgument("ERR_INVALID_DEADLINE", message, RangeError);
    }
    this.#assertOpen();
    if (this.#endWait) {
      throw invalidArgument("ERR_ALREADY_WAITING", "connected() waits already on this socket");
    }
    if (!this.#peer) throw invalidArgument("ERR_NOT_CONNECTING", "call connect() before connected()");
    signal?.throwIfAborted();
    const startedAt = performance.now();
    // On loopback the answer is mostly there already, and asking for it costs less than waiting for it.
    let error = this.#connecting ? this.#settle() : null;
    if (!this.#connecting && startedAt - turnedAt > TURN_MS) {
      await turn();
      turnedAt = performance.now();
    }
    while (this.#connecting) {
      const spentMs = performance.now() - startedAt;
      await this.#ended(signal, deadlineMs === undefined ? undefined : Math.max(0, deadlineMs - spentMs));
      error = this.#settle();
    }
    if (error) throw error;
    this.#assertOpen();
    return this;
  }

  /** listen(2). */
  listen(backlog: number = DEFAULT_BACKLOG): this {
    if (!Number.isInteger(backlog) || backlog < 0 || backlog > 2 ** 31 - 1) {
      throw invalidArgument("ERR_INVALID_BACKLOG", `backlog ${backlog} is not a count`, RangeError);
    }
    this.#must(this.#native.listen(this.#open, backlog), { syscall: "listen" });
    return this;
  }

  /** accept4(2): the next connection, or null when none waits (EAGAIN). */
  accept(): TcpSocket | null {
    const accepted = new TcpSocket(this.#native);
    const answer = this.#native.accept(this.#open, accepted.#handle);
    if (answer < 0 && errnoName(answer) === "EAGAIN") return null;
    this.#must(answer, { syscall: "accept" });
    return accepted;
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
    if (row.kind === "text") {
      const text = new Uint8Array(TEXT_BYTES);
      const length = this.#optionAnswer(row, this.#native.getsockopt(this.#open, index, text), "getsockopt");
      return new TextDecoder().decode(text.subarray(0, length)) as SocketOptions[N];
    }
    const values = new BigInt64Array(NUMBERS);
    const count = this.#optionAnswer(row, this.#native.getsockopt(this.#open, index, values), "getsockopt");
    const { informationFields: fields, tcpStates: states } = this.#native;
    return decodeOption(row, values, count, { fields, states }) as SocketOptions[N];
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

  /** getsockopt(2), SO_ERROR: takes the pending error; the next call says null. */
  takeError(): SocketError | null {
    const errno = this.#must(this.#native.takeError(this.#open), { syscall: "getsockopt" });
    this.#refused = errno !== 0;
    return errno === 0 ? null : new SocketError(-errno, { syscall: "connect", ...this.#names() });
  }

  /** getsockname(2) equals getpeername(2); false while there is no peer. */
  isSelfConnected(): boolean {
    const { local, peer } = this.#kernelNames();
    return local !== undefined && peer !== undefined && isSelfConnect(local, peer);
  }

  /** send(2) without SIGPIPE: the bytes that the kernel took; 0 when its buffer is full (EAGAIN). */
  send(bytes: Uint8Array): number {
    const answer = this.#native.send(this.#open, bytes);
    if (answer < 0 && errnoName(answer) === "EAGAIN") return 0;
    return this.#must(answer, { syscall: "send", ...this.#names() });
  }

  /** recv(2): the bytes read, 0 at the end of the stream, null when none are there yet (EAGAIN). */
  recv(into: Uint8Array): number | null {
    const answer = this.#native.recv(this.#open, into);
    if (answer < 0 && errnoName(answer) === "EAGAIN") return null;
    return this.#must(answer, { syscall: "recv", ...this.#names() });
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
    this.#cancelWait("release()");
    return this.#native.release(this.#handle);
  }

  /** Hands the connection over to Node: a net.Socket on the same file descriptor. */
  toStream(): net.Socket {
    return new net.Socket({ fd: this.release(), readable: true, writable: true });
  }

  /** The handle of an open socket; throws ERR_SOCKET_CLOSED. */
  get #open(): Handle {
    this.#assertOpen();
    return this.#handle;
  }

  #assertOpen(): void {
    if (this.closed) throw invalidArgument("ERR_SOCKET_CLOSED", "the socket was closed, reset or released");
  }

  #connectAnswered(answer: number, peer: Address): "connected" | "in-progress" {
    this.#peer = peer;
    this.#must(answer, { syscall: "connect", peer });
    this.#connecting = answer > 0;
    return this.#connecting ? "in-progress" : "connected";
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
    return decodeAddress(bytes, (index) => {
      const name = new Uint8Array(TEXT_BYTES);
      const length = this.#native.ifIndexToName(index, name);
      return length < 0 ? String(index) : new TextDecoder().decode(name.subarray(0, length));
    });
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
    const { local } = this.#kernelNames();
    return { ...(local?.port && { local }), ...(this.#peer && { peer: this.#peer }) };
  }

  /** Asks whether the connect has ended: its error, or null when it is connected or goes on. */
  #settle(): SocketError | null {
    const error = this.takeError();
    const answer = error ? 0 : this.#native.getpeername(this.#open, new Uint8Array(ADDRESS_BYTES));
    if (answer >= 0) this.#connecting = false;
    else if (errnoName(answer) !== "ENOTCONN") this.#must(answer, { syscall: "getpeername" });
    return error;
  }

  /** Resolves when the connect has ended; rejects on deadline, abort and close. */
  async #ended(signal: AbortSignal | undefined, waitMs: number | undefined): Promise<void> {
    const startedAt = performance.now();
    let timer: NodeJS.Timeout | undefined;
    let forget = () => {};
    const watch = writable(this.#native, this.#handle);
    this.#must(watch.answer, { syscall: "epoll_ctl" });
    try {
      await new Promise<void>((resolve, reject) => {
        watch.ready(resolve);
        this.#endWait = reject;
        if (waitMs !== undefined) {
          timer = setTimeout(() => reject(this.#deadlineError(performance.now() - startedAt)), waitMs);
        }
        forget = onAbort(signal, () => reject(signal?.reason));
      });
    } finally {
      clearTimeout(timer);
      forget();
      this.#endWait = undefined;
      watch.cancel();
    }
  }

  #deadlineError(elapsedMs: number): DialError {
    const peer = this.#peer!;
    const attempt = { outcome: "deadline", elapsedMs, ...this.#names(), peer };
    const message = `no answer to connect after ${Math.round(elapsedMs)} ms`;
    return new DialError("ERR_DEADLINE", message, [attempt]);
  }

  #cancelWait(by: string): void {
    this.#endWait?.(invalidArgument("ERR_SOCKET_CLOSED", `${by} was called while connected() waited`));
  }

  #end(how: "close" | "reset", by: string): void {
    if (this.closed) return;
    this.#cancelWait(by);
    this.#native[how](this.#handle);
  }
}

/**
 * Whether this build and this kernel have the option, found out by asking the kernel: getsockopt(2) on a new
 * socket. IPV6_… options are asked of an IPv6 socket. Throws SocketError when no socket can be had (EMFILE).
 */
export function supported(name: OptionName): boolean;
/** @internal With a kernel that a test makes up. */
export function supported(name: OptionName, native: Native): boolean;
export function supported(name: OptionName, native: Native = loadNative()): boolean {
  const index = optionIndex(native.options, name);
  const row = native.options[index]!;
  if (!row.inBuild) return false;
  const handle = native.handle();
  const opened = native.socket(handle, row.ipv6Only ? 6 : 4);
  if (opened < 0 && errnoName(opened) === "EAFNOSUPPORT") return false;
  if (opened < 0) throw new SocketError(opened, { syscall: "socket" });
  try {
    const room = row.kind === "text" ? new Uint8Array(TEXT_BYTES) : new BigInt64Array(NUMBERS);
    const answer = native.getsockopt(handle, index, room);
    return answer >= 0 || !["ENOPROTOOPT", "ENOTSUP"].includes(errnoName(answer));
  } finally {
    native.close(handle);
  }
}

/** The option table, row by row: what docs/options.md and the generated test are made from. */
export function optionTable(): readonly OptionRow[] {
  return loadNative().options;
}

/** @internal The address as native code takes it, its scope looked up. Throws ERR_UNKNOWN_SCOPE. */
export function addressBytes(address: Address, native: Native): Uint8Array {
  if (address.scope === undefined) return encodeAddress(address);
  const isIndex = /^\d+$/.test(address.scope);
  const index = isIndex ? Number(address.scope) : native.ifNameToIndex(address.scope);
  if (index > 0) return encodeAddress(address, index);
  throw invalidArgument("ERR_UNKNOWN_SCOPE", `"${address.scope}" is not an interface of this host`);
}
