/** TcpSocket: one kernel socket. Its methods are named after the system calls that they make. */
import net from "node:net";
import { inspect } from "node:util";
import type { Address, LocalAddress } from "./address.ts";
import { addressBytes, checkAddress, checkLocalAddress, readAddress } from "./address.ts";
import { checkSamePeer, deadlineError, hasPeer, PROVEN_APART, readConnectResult } from "./connecting.ts";
import type { SocketErrorContext } from "./errors.ts";
import { errnoName, SocketError, threadError } from "./errors.ts";
import type { KnownSocket, SocketTransfer } from "./inherited.ts";
import { checkHandover, checkStreamable, claim, inherit } from "./inherited.ts";
import type { WaitLimits } from "./limits.ts";
import { checkLimits, closedError } from "./limits.ts";
import { checkBacklog, checkKeys, invalidArgument } from "./misuse.ts";
import type { Handle, Native } from "./native.ts";
import { loadNative } from "./native.ts";
import { openSocket } from "./open.ts";
import { getRawOption, readOption, setRawOption, writeOption, writeOptions } from "./option-access.ts";
import type { OpenOptions, OptionName, SocketOptions } from "./options.ts";
import { OPEN_KEYS } from "./options.ts";
import { connectPair } from "./pair.ts";
import { watchWritable, yieldToLoop } from "./reactor.ts";
import { isSelfConnect, specify } from "./self-connect.ts";
import { SharedWait } from "./shared-wait.ts";
import type { SocketState } from "./stream-socket.ts";
import { StreamSocket } from "./stream-socket.ts";

const DEFAULT_BACKLOG = 511;
/** The constructor requires it, and only this file has it: users call TcpSocket.open(). */
const OPENED_HERE = Symbol("TcpSocket.open");

/** The state of a socket. */
type State =
  | { readonly name: "unconnected" | "listening" | "closed" }
  | {
      readonly name: "connecting";
      readonly peer: Address;
      /** Null until connected() waits for the first time. */
      wait: SharedWait | null;
    }
  | {
      readonly name: "connected";
      readonly peer: Address | null;
      /** Whether the kernel has proven that another socket is at the other end. */
      readonly isApart?: boolean;
    }
  | { readonly name: "failed"; readonly peer: Address; readonly error: SocketError };

type Connecting = Extract<State, { name: "connecting" }>;

/** One TCP socket, nonblocking and close-on-exec. It owns its file descriptor until release(). */
export class TcpSocket extends StreamSocket<TcpSocket> implements Disposable {
  readonly #native: Native;
  readonly #handle: Handle;
  #state: State;

  /**
   * socket(2), then setsockopt(2) for each option in the order given. Throws SocketError EMFILE, EAFNOSUPPORT …; with
   * `namespace` also ENOENT, and EPERM without CAP_SYS_ADMIN; with `mptcp` also EPROTONOSUPPORT or ENOPROTOOPT, where
   * the kernel lacks Multipath TCP or net.mptcp.enabled is 0.
   */
  static open(family: 4 | 6, { namespace, mptcp = false, ...options }: OpenOptions = {}): TcpSocket {
    if (family !== 4 && family !== 6) {
      throw invalidArgument("ERR_INVALID_FAMILY", `family ${String(family)} is neither 4 nor 6`);
    }
    const native = loadNative();
    const socket = new TcpSocket(OPENED_HERE, native, native.handle(), { name: "unconnected" });
    openSocket(native, socket.#handle, family, mptcp, namespace);
    try {
      writeOptions(native, options, (row, from) => native.setsockopt(socket.#handle, row, from), OPEN_KEYS);
    } catch (error) {
      socket.close();
      throw error;
    }
    return socket;
  }

  /**
   * Two sockets connected to each other over loopback, for tests: the one that called connect(2), and the one that
   * accept4(2) returned. Rejects with a SocketError, such as EMFILE; no socket is left open then.
   */
  static pair(family: 4 | 6 = 4): Promise<[TcpSocket, TcpSocket]> {
    return connectPair(family, () => TcpSocket.open(family));
  }

  /** @internal Creates a TcpSocket from a handle into which a native call put a connected socket. */
  static adopt(handle: Handle): TcpSocket {
    return new TcpSocket(OPENED_HERE, loadNative(), handle, { name: "connected", peer: null });
  }

  /**
   * SO_TYPE, SO_PROTOCOL, SO_ACCEPTCONN, TCP_INFO and getpeername(2): takes over a descriptor of this process that
   * nobody else closes, such as an inherited one (listenFds()). The state is the kernel's. Sets FD_CLOEXEC, and
   * O_NONBLOCK for every process that shares the descriptor. Throws ERR_INVALID_FD, ERR_NOT_TCP, ERR_FD_OWNED when a
   * TcpSocket of this thread owns it; the descriptor is then still yours. A connect in progress needs `peer`, the
   * address given to connect(2), which the kernel does not report yet: without it ERR_PEER_UNKNOWN is thrown.
   */
  static fromFd(fd: number, peer?: Address | string): TcpSocket {
    const asked = peer === undefined ? undefined : checkAddress(peer);
    return TcpSocket.#create(inherit(loadNative(), fd, asked));
  }

  /** Takes over the socket of a transfer(), on any thread of the process, once. Throws ERR_INVALID_TRANSFER. */
  static fromTransfer(transfer: SocketTransfer): TcpSocket {
    return TcpSocket.#create(claim(loadNative(), transfer));
  }

  static #create({ handle, state }: KnownSocket): TcpSocket {
    return new TcpSocket(OPENED_HERE, loadNative(), handle, state);
  }

  /**
   * @internal connect(2) of two bound sockets to each other at the same moment, so that their SYNs cross. Await
   * connected() of both for the result. Throws SocketError when the kernel refuses a connect at once.
   */
  static meet(one: TcpSocket, other: TcpSocket): void {
    const native = one.#native;
    const locals = [one.getsockname(), other.getsockname()] as const;
    const [ofOne, ofOther] = locals.map((local) => addressBytes(local, native)) as [Uint8Array, Uint8Array];
    const results = new Int32Array(2);
    const meeting = native.meet(one.#open, ofOther, other.#open, ofOne, results);
    if (meeting < 0) throw threadError(meeting, "connect");
    one.#enterConnect(results[0]!, locals[1]);
    other.#enterConnect(results[1]!, locals[0]);
  }

  /** @internal Use TcpSocket.open(). */
  constructor(opener: typeof OPENED_HERE, native: Native, handle: Handle, state: State) {
    super();
    if (opener !== OPENED_HERE) {
      throw invalidArgument("ERR_ILLEGAL_CONSTRUCTOR", "use TcpSocket.open(family), not new TcpSocket()");
    }
    this.#native = native;
    this.#handle = handle;
    this.#state = state;
  }

  /** The file descriptor; -1 once the socket is closed or released. */
  get fd(): number {
    return this.#native.fd(this.#handle);
  }

  /** The state after the last call. It stays "connecting" after the connect has ended, until connected() checks. */
  get state(): SocketState {
    return this.#state.name;
  }

  /** Whether close(), reset() or release() was called. */
  get closed(): boolean {
    return this.#state.name === "closed";
  }

  /**
   * bind(2). Without a port ("10.0.0.1") or with port 0 the kernel picks one (autobind). Throws SocketError EADDRINUSE,
   * EADDRNOTAVAIL, EACCES …
   */
  bind(local: LocalAddress): this {
    const address = checkLocalAddress(local);
    const bytes = addressBytes(address, this.#native);
    this.#checkResult(this.#native.bind(this.#open, bytes), { syscall: "bind", local: address });
    return this;
  }

  /**
   * connect(2), which never blocks here. After "in-progress" (EINPROGRESS), await connected(). Throws SocketError
   * when the kernel refuses at once: EADDRNOTAVAIL when the ephemeral range is exhausted, ENETUNREACH, EADDRINUSE …
   * The state is then "failed", as after ECONNREFUSED, and connect() may be called again. EALREADY and EISCONN leave
   * the state unchanged: an earlier connect is in progress or has succeeded.
   */
  connect(peer: Address | string): "connected" | "in-progress" {
    const address = checkAddress(peer);
    const bytes = addressBytes(address, this.#native);
    let result = this.#native.connect(this.#open, bytes);
    // On Linux, after SO_ERROR returned the error of a connect, the next connect(2) only ends that one and returns
    // ECONNABORTED (inet_stream_connect in net/ipv4/af_inet.c). The one after it starts a new connect.
    if (this.#state.name === "failed" && result < 0 && errnoName(result) === "ECONNABORTED") {
      result = this.#native.connect(this.#open, bytes);
    }
    return this.#enterConnect(result, address);
  }

  /**
   * epoll(7), then TCP_INFO, then SO_ERROR: waits until the connect in progress has ended. Resolves at once
   * when the socket is connected already. Rejects with the SocketError that a blocking connect(2) would return, at
   * each call until the next connect(). Rejects with DialError ERR_DEADLINE or the signal's reason while the socket
   * goes on connecting; call connected() again to go on waiting. Any number of callers may wait.
   */
  async connected(limits: WaitLimits = {}): Promise<this> {
    checkLimits("connected()", limits);
    this.#assertOpen();
    // On loopback the connect has mostly ended already, and asking the kernel is cheaper than starting a wait.
    const settled = this.#state.name === "connecting" ? this.#settle(this.#state, false) : this.#state;
    if (settled.name === "connecting") await this.#wait(settled, limits);
    else if (settled.name === "failed" || settled.name === "connected") await yieldToLoop();
    else throw invalidArgument("ERR_NOT_CONNECTING", "call connect() before connected()");
    if (settled.name === "failed") throw settled.error;
    this.#assertOpen();
    return this;
  }

  /** listen(2). Linux caps `backlog` at net.core.somaxconn. Throws SocketError EADDRINUSE … */
  listen(backlog: number = DEFAULT_BACKLOG): this {
    checkBacklog(backlog);
    this.#checkResult(this.#native.listen(this.#open, backlog), { syscall: "listen" });
    this.#enter({ name: "listening" });
    return this;
  }

  /**
   * accept4(2). Returns the next connection, or null when no connection is waiting (EAGAIN). Throws SocketError EINVAL
   * before listen(), EMFILE …; ECONNABORTED when the peer has reset the connection already (other kernels than Linux).
   */
  accept(): TcpSocket | null {
    const handle = this.#native.handle();
    const result = this.#native.accept(this.#open, handle);
    if (result < 0 && errnoName(result) === "EAGAIN") return null;
    this.#checkResult(result, { syscall: "accept" });
    return TcpSocket.adopt(handle);
  }

  /**
   * getsockname(2). The port is 0 before bind and connect. After a refused connect Linux still returns the port that
   * the connect used; other kernels may not.
   */
  getsockname(): Address {
    return this.#readAddress("getsockname");
  }

  /** getpeername(2). Throws SocketError ENOTCONN while there is no peer. */
  getpeername(): Address {
    return this.#readAddress("getpeername");
  }

  /**
   * getsockopt(2). Throws ERR_UNKNOWN_OPTION, ERR_OPTION_WRITE_ONLY, ERR_OPTION_UNSUPPORTED; SocketError with any other
   * errno, such as ENOTCONN.
   */
  getsockopt<N extends OptionName>(name: N): SocketOptions[N] {
    return readOption(this.#native, name, (row, into) => this.#native.getsockopt(this.#open, row, into));
  }

  /**
   * setsockopt(2). Throws ERR_UNKNOWN_OPTION, ERR_OPTION_VALUE, ERR_OPTION_READ_ONLY, ERR_OPTION_UNSUPPORTED;
   * SocketError with any other errno, such as EPERM.
   */
  setsockopt<N extends OptionName>(name: N, value: SocketOptions[N]): this {
    writeOption(this.#native, name, value, (row, from) => this.#native.setsockopt(this.#open, row, from));
    return this;
  }

  /**
   * getsockopt(2) of an option that the table lacks: `level` and `name` are numbers of socketConstants(). Returns what
   * the kernel wrote, up to `length` bytes. Throws ERR_OPTION_CONSTANT, ERR_OPTION_VALUE; SocketError ENOPROTOOPT …
   */
  rawGetsockopt(level: number, name: number, length: number): Uint8Array {
    return getRawOption(this.#native, this.#open, level, name, length);
  }

  /** setsockopt(2) of an option that the table lacks, in the kernel's own bytes. Throws as rawGetsockopt() does. */
  rawSetsockopt(level: number, name: number, bytes: Uint8Array): this {
    setRawOption(this.#native, this.#open, level, name, bytes);
    return this;
  }

  /**
   * getsockopt(2), SO_ERROR: returns the pending error and clears it; the next call returns null. An error ends a
   * connect in progress: the state is then "failed", and connected() rejects with the same error.
   */
  takeError(): SocketError | null {
    const errno = this.#checkResult(this.#native.takeError(this.#open), { syscall: "getsockopt" });
    if (errno === 0) return null;
    if (this.#state.name === "connecting") return this.#fail(-errno, this.#state).error;
    return new SocketError(-errno, { syscall: "getsockopt", ...this.#errorAddresses() });
  }

  /**
   * getsockname(2), getpeername(2): whether they are equal; false while there is no peer. On Linux the kernel's own
   * four-tuple decides (TCP_INFO, sock_diag(7)), for a load balancer can replace what getpeername(2) returns. Throws
   * SocketError when the kernel does not report it.
   */
  isSelfConnected(): boolean {
    if (this.#state.name === "connected" && this.#state.isApart) return false;
    const joined = this.#native.isJoined(this.#open);
    if (joined >= 0) return joined > 0;
    if (errnoName(joined) === "ENOTCONN" && this.state !== "connected") return false;
    throw new SocketError(joined, { syscall: "getpeername", ...this.#errorAddresses() });
  }

  /** shutdown(2). */
  shutdown(how: "read" | "write" | "both"): this {
    if (how !== "read" && how !== "write" && how !== "both") {
      throw invalidArgument("ERR_INVALID_SHUTDOWN", `"${String(how)}" is not "read", "write" or "both"`);
    }
    this.#checkResult(this.#native.shutdown(this.#open, how), {
      syscall: "shutdown",
      ...this.#errorAddresses(),
    });
    // Linux takes a listener back to a socket that is not connected, and ends a connect in progress by ECONNRESET.
    if (this.#state.name === "listening" && how !== "write") this.#enter({ name: "unconnected" });
    if (this.#state.name === "connecting") this.#settle(this.#state, true);
    return this;
  }

  /** SO_LINGER {1, 0}, then close(2): sends RST and leaves no TIME-WAIT; the port is free at once. Idempotent. */
  reset(): void {
    this.#end("reset", "reset()");
  }

  /**
   * close(2). Idempotent. A socket that still connects to its own local address is reset instead: if it is joined to
   * itself by then, close(2) would keep the port in TIME-WAIT for a minute.
   */
  close(): void {
    this.#end("close", "close()");
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Returns the file descriptor, which the caller now owns and closes. The state is "closed" afterwards. */
  release(): number {
    this.#assertOpen();
    const fd = this.#native.release(this.#handle);
    this.#enter({ name: "closed" }, "release()");
    return fd;
  }

  /**
   * Gives the socket to another thread of this process: pass the result to it by postMessage() and there call
   * TcpSocket.fromTransfer(), once. The socket stays open until then, even when this thread ends; one that nobody takes
   * is closed when the process ends. The state here is "closed" afterwards.
   */
  transfer(): SocketTransfer {
    this.#assertOpen();
    const peer = this.#state.name === "connecting" ? this.#state.peer : undefined;
    const ticket = this.#checkResult(this.#native.shelve(this.#handle), { syscall: "close" });
    this.#enter({ name: "closed" }, "transfer()");
    return { pid: process.pid, ticket, ...(peer && { peer }) };
  }

  /**
   * Creates a net.Socket that takes over the file descriptor, as after release(). With `allowHalfOpen` it stays
   * writable after the peer's end of the stream, until end(), as with net.createServer(). Throws ERR_NOT_CONNECTED.
   */
  toStream(options: { readonly allowHalfOpen?: boolean } = {}): net.Socket {
    checkKeys("toStream()", options, ["allowHalfOpen"]);
    this.#assertOpen();
    checkStreamable(this.state);
    return new net.Socket({ fd: this.release(), readable: true, writable: true, ...options });
  }

  /**
   * listen(2), again, with the same backlog: gives the listening socket to a server of net, http, https or http2, by
   * default a new net.Server. It emits 'listening' next; the state here is "closed". Throws ERR_NOT_LISTENING,
   * ERR_SERVER_LISTENING; ERR_CLUSTER_WORKER in node:cluster, where Node takes the number for one of the primary's fds.
   */
  toServer<S extends net.Server = net.Server>(server: S = net.createServer() as S): S {
    this.#assertOpen();
    checkHandover(this.state, server);
    const backlog = this.getsockopt("information").sackedPackets;
    return server.listen({ fd: this.release() }, backlog);
  }

  /** For logs: the descriptor, the state, and the addresses that the kernel reports now. */
  toJSON(): { fd: number; state: SocketState; local?: Address; peer?: Address } {
    return { fd: this.fd, state: this.state, ...(!this.closed && this.#readAddresses()) };
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

  /** Enters the state that a result of connect(2) leads to. */
  #enterConnect(result: number, peer: Address): "connected" | "in-progress" {
    // While a connect is in progress, the kernel returns the result of that one.
    const asked = this.#state.name === "connecting" ? this.#state.peer : peer;
    if (result < 0) {
      const error = new SocketError(result, { syscall: "connect", peer: asked });
      if (error.code !== "EALREADY" && error.code !== "EISCONN")
        this.#enter({ name: "failed", peer: asked, error });
      throw error;
    }
    checkSamePeer(this.#state, peer, result);
    // With TCP_FASTOPEN_CONNECT connect(2) returns 0 before a SYN has left; there is no peer then.
    const isConnected = result === 0 && hasPeer(this.#native, this.#handle);
    if (isConnected) this.#enter({ name: "connected", peer: asked });
    else if (this.#state.name !== "connecting") this.#enter({ name: "connecting", peer: asked, wait: null });
    return isConnected ? "connected" : "in-progress";
  }

  /** The only place where the state changes. Ends the wait for a connect that was in progress. */
  #enter(next: State, by = "connect()"): void {
    const last = this.#state;
    this.#state = next;
    if (next.name === "closed") this.endWaits(() => closedError(by, "a call waited"));
    if (last.name !== "connecting") return;
    if (next.name === "connected") last.wait?.end();
    else if (next.name === "failed") last.wait?.end(next.error);
    else last.wait?.end(closedError(by, "connected() waited"));
  }

  #fail(errno: number, { peer }: Connecting): Extract<State, { name: "failed" }> {
    const error = new SocketError(errno, { syscall: "connect", ...this.#errorAddresses() });
    const failed = { name: "failed", peer, error } as const;
    this.#enter(failed);
    return failed;
  }

  /** Returns a result of 0 or more; throws SocketError for -errno. */
  #checkResult(result: number, context: SocketErrorContext): number {
    if (result >= 0) return result;
    throw new SocketError(result, context);
  }

  #readAddress(call: "getsockname" | "getpeername"): Address {
    const result = readAddress(this.#native, this.#open, call);
    if (typeof result === "number") throw new SocketError(result, { syscall: call });
    return result;
  }

  /** getsockname(2) and getpeername(2); an address is absent when its call fails. */
  #readAddresses(): { local?: Address; peer?: Address } {
    const local = readAddress(this.#native, this.#open, "getsockname");
    const peer = readAddress(this.#native, this.#open, "getpeername");
    return { ...(typeof local === "object" && { local }), ...(typeof peer === "object" && { peer }) };
  }

  /** For errors: the peer given to connect(), and the local address once it has a port. */
  #errorAddresses(): { local?: Address; peer?: Address } {
    const { local, peer } = this.#readAddresses();
    const asked = "peer" in this.#state ? this.#state.peer : null;
    return { ...(local?.port && { local }), ...((asked ?? peer) && { peer: (asked ?? peer)! }) };
  }

  /** @internal Both directions may return the error of a connect in progress. */
  protected override callKernel(
    syscall: string,
    call: (native: Native, handle: Handle) => number,
  ): number | null {
    const result = call(this.#native, this.#open);
    if (result >= 0) return result;
    const code = errnoName(result);
    if (code === "EAGAIN") return null;
    const error = new SocketError(result, { syscall, ...this.#errorAddresses() });
    const isOwnError = code === "ENOTCONN" || code === "EINVAL" || syscall === "setsockopt";
    if (this.#state.name === "connecting" && !isOwnError) this.#fail(result, this.#state);
    throw error;
  }

  /** Asks the kernel whether the connect has ended, and enters the state that follows. */
  #settle(connecting: Connecting, isReady: boolean): State {
    const { peer } = connecting;
    const result = readConnectResult(this.#native, this.#open, peer, isReady);
    if (result < 0) this.#fail(result, connecting);
    else if (result === 0) this.#enter({ name: "connected", peer });
    else if (result === PROVEN_APART) this.#enter({ name: "connected", peer, isApart: true });
    return this.#state;
  }

  #createWait(): SharedWait {
    const start = (ready: () => void) => watchWritable(this.#native, this.#handle, ready);
    const isOver = () =>
      this.#state.name !== "connecting" || this.#settle(this.#state, true).name !== "connecting";
    return new SharedWait(start, isOver);
  }

  async #wait(connecting: Connecting, limits: WaitLimits): Promise<void> {
    const { peer } = connecting;
    connecting.wait ??= this.#createWait();
    await connecting.wait.wait({
      ...limits,
      deadlineError: (elapsedMs) => deadlineError(elapsedMs, { ...this.#errorAddresses(), peer }),
    });
  }

  #end(how: "close" | "reset", by: string): void {
    const state = this.#state;
    if (state.name === "closed") return;
    const local = state.name === "connecting" && this.#readAddresses().local;
    const mayBeJoined = local && isSelfConnect(local, specify(state.peer));
    this.#enter({ name: "closed" }, by);
    this.#native[mayBeJoined ? "reset" : how](this.#handle);
  }
}
