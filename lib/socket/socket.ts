/** TcpSocket: one kernel socket. Its methods are named after the system calls that they make. */
import net from "node:net";
import { inspect } from "node:util";
import type { Address } from "./address.ts";
import { checkAddress } from "./address.ts";
import { addressBytes } from "./address-bytes.ts";
import {
  addressError,
  checkSamePeer,
  deadlineError,
  hasPeer,
  IN_PROGRESS,
  PROVEN_APART,
  readConnectResult,
} from "./connecting.ts";
import type { SocketErrorContext } from "./errors.ts";
import { errnoName, SocketError, threadError } from "./errors.ts";
import type { KnownSocket, SocketTransfer } from "./inherited.ts";
import { checkHandover, checkStreamable, claim, inherit } from "./inherited.ts";
import { endWithoutFin } from "./joined-end.ts";
import type { WaitLimits } from "./limits.ts";
import { checkLimits, closedError } from "./limits.ts";
import { checkBacklog, checkFlags, checkKeys, checkObject, invalidArgument, textOf } from "./misuse.ts";
import type { Handle, Native } from "./native.ts";
import { loadNative } from "./native.ts";
import { openSocket } from "./open.ts";
import { checkOptions } from "./option-access.ts";
import type { AcceptOptions, OpenOptions } from "./options.ts";
import { OPEN_KEYS } from "./options.ts";
import { connectPair } from "./pair.ts";
import type { Ready } from "./reactor.ts";
import { watchWritable, yieldToLoop } from "./reactor.ts";
import { SharedWait } from "./shared-wait.ts";
import type { Connecting, Failed, Joining, SocketState, State } from "./state.ts";
import { sendState } from "./state.ts";
import { setAcceptedOptions } from "./stream-options.ts";
import { StreamSocket } from "./stream-socket.ts";

const DEFAULT_BACKLOG = 511;
/** The constructor requires it, and only this file has it: users call TcpSocket.open(). */
const OPENED_HERE = Symbol("TcpSocket.open");

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
  static open(family: 4 | 6, options: OpenOptions = {}): TcpSocket {
    if (family !== 4 && family !== 6) {
      throw invalidArgument("ERR_INVALID_FAMILY", `family ${textOf(family)} is neither 4 nor 6`);
    }
    checkObject("TcpSocket.open()", options, ["the names of optionTable()", ...OPEN_KEYS]);
    const { namespace, mptcp = false, ...ofSocket } = options;
    const native = loadNative();
    const socket = new TcpSocket(OPENED_HERE, native, native.handle(), { name: "unconnected" });
    openSocket(native, socket.#handle, family, mptcp, namespace);
    return socket.setAll(ofSocket, OPEN_KEYS);
  }

  /**
   * Two sockets connected to each other over loopback, for tests: the one that called connect(2), and the one that
   * accept4(2) returned. Rejects with a SocketError, such as EMFILE; no socket is left open then.
   */
  static pair(family: 4 | 6 = 4): Promise<[TcpSocket, TcpSocket]> {
    return connectPair(family, () => TcpSocket.open(family));
  }

  /** @internal Creates a TcpSocket from a handle into which a native call put a connected socket. */
  static adopt(handle: Handle, isApart = false): TcpSocket {
    return new TcpSocket(OPENED_HERE, loadNative(), handle, { name: "connected", peer: null, isApart });
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
    const meeting = native.meet(one.open, ofOther, other.open, ofOne, results);
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

  /**
   * The state after the last call. It stays "connecting" after the connect has ended, until connected() checks, and
   * "connected" after the peer has reset the connection, until a call returns that error.
   */
  get state(): SocketState {
    return this.#state.name;
  }

  /** Whether close(), reset() or release() was called. */
  get closed(): boolean {
    return this.#state.name === "closed";
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
    let result = this.#native.connect(this.open, bytes);
    // On Linux, after SO_ERROR returned the error of a connect, the next connect(2) only ends that one and returns
    // ECONNABORTED (inet_stream_connect in net/ipv4/af_inet.c). The one after it starts a new connect.
    if (this.#state.name !== "connecting" && result < 0 && errnoName(result) === "ECONNABORTED") {
      result = this.#native.connect(this.open, bytes);
    }
    return this.#enterConnect(result, address);
  }

  /**
   * epoll(7), then TCP_INFO, then SO_ERROR: waits until the connect in progress has ended. Resolves at once when the
   * socket is connected. Rejects with the SocketError that a blocking connect(2) would return, at each call until the
   * next connect(); after the peer has reset the connection with ECONNRESET. Rejects with DialError ERR_DEADLINE or the
   * signal's reason while the socket goes on connecting; call it again to go on waiting. Any number of callers may
   * wait. After TCP_FASTOPEN_CONNECT it may wait for the first send(2), which sends the SYN.
   */
  async connected(limits: WaitLimits = {}): Promise<this> {
    checkLimits("connected()", limits);
    limits.signal?.throwIfAborted();
    this.#assertOpen();
    // On loopback the connect has mostly ended already, and asking the kernel is cheaper than starting a wait.
    const settled = this.#settle(false);
    if (settled.name === "connecting") await this.#wait(settled, limits);
    else if (settled.name === "failed" || settled.name === "connected") await yieldToLoop();
    else throw invalidArgument("ERR_NOT_CONNECTING", "call connect() before connected()");
    if (settled.name === "failed") throw settled.error;
    this.#assertOpen();
    return this;
  }

  /**
   * listen(2). Linux caps `backlog` at net.core.somaxconn. `acceptedOptions` are set on each socket that accept()
   * returns. Throws SocketError EADDRINUSE …
   */
  listen(backlog: number = DEFAULT_BACKLOG, options: AcceptOptions = {}): this {
    checkBacklog(backlog);
    checkKeys("listen()", options, ["acceptedOptions"]);
    const { acceptedOptions = {} } = options;
    checkOptions("acceptedOptions", this.#native, acceptedOptions);
    this.#checkResult(this.#native.listen(this.open, backlog), { syscall: "listen" });
    this.#enter({ name: "listening", acceptedOptions });
    return this;
  }

  /**
   * accept4(2). Returns the next connection, or null when no connection is waiting (EAGAIN). Throws SocketError EINVAL
   * before listen(), EMFILE …; ECONNABORTED when the peer has reset the connection already (other kernels than Linux).
   * A connection on which an option of listen() cannot be set is reset, and the error thrown.
   */
  accept(): TcpSocket | null {
    const handle = this.#native.handle();
    const result = this.#native.accept(this.open, handle);
    if (result < 0 && errnoName(result) === "EAGAIN") return null;
    this.#checkResult(result, { syscall: "accept" });
    // A SYN to the address that it comes from reaches the socket that sent it, and no listener.
    const accepted = TcpSocket.adopt(handle, true);
    return this.#state.name === "listening" ? accepted.setAll(this.#state.acceptedOptions) : accepted;
  }

  /**
   * getsockopt(2), SO_ERROR: returns the pending error and clears it; the next call returns null. An error that ended
   * a connect in progress or a connection: the state is then "failed", and connected() rejects with the same error.
   */
  takeError(): SocketError | null {
    const errno = this.#checkResult(this.#native.takeError(this.open), { syscall: "getsockopt" });
    if (errno === 0) return null;
    return (
      this.#endBy(-errno) ?? new SocketError(-errno, { syscall: "getsockopt", ...this.#errorAddresses() })
    );
  }

  /**
   * getsockname(2), getpeername(2): whether they are equal; false while there is no peer. On Linux the kernel's own
   * four-tuple decides (TCP_INFO, sock_diag(7)), for a load balancer can replace what getpeername(2) returns. Throws
   * SocketError when the kernel does not report it.
   */
  isSelfConnected(): boolean {
    const state = this.#state;
    if (state.name === "connected" && state.isApart) return false;
    const joined = this.#native.isJoined(this.open);
    if (joined === 0 && state.name === "connected") this.#enter({ ...state, isApart: true });
    if (joined >= 0) return joined > 0;
    if (errnoName(joined) === "ENOTCONN" && state.name !== "connected") return false;
    throw new SocketError(joined, { syscall: "getpeername", ...this.#errorAddresses() });
  }

  /**
   * shutdown(2). "write" and "both" send FIN: of a socket that is joined to itself TIME-WAIT then keeps the port for a
   * minute, which SO_LINGER does not end (docs/sockets.md). Use reset(). Without a peer it throws ENOTCONN; Linux sends
   * the FIN all the same when the socket connects later.
   */
  shutdown(how: "read" | "write" | "both"): this {
    if (how !== "read" && how !== "write" && how !== "both") {
      throw invalidArgument("ERR_INVALID_SHUTDOWN", `"${textOf(how)}" is not "read", "write" or "both"`);
    }
    this.#checkResult(this.#native.shutdown(this.open, how), {
      syscall: "shutdown",
      ...this.#errorAddresses(),
    });
    // Linux takes a listener back to a socket that is not connected, and ends a connect in progress by ECONNRESET.
    if (this.#state.name === "listening" && how !== "write") this.#enter({ name: "unconnected" });
    if (this.#state.name === "connecting") this.#settle(true);
    return this;
  }

  /** SO_LINGER {1, 0}, then close(2): sends RST and leaves no TIME-WAIT; the port is free at once. Idempotent. */
  reset(): void {
    this.#end("reset", "reset()");
  }

  /**
   * close(2). Idempotent. A socket that is joined to itself is reset instead, for close(2) would keep its port in
   * TIME-WAIT for a minute; so is one that still connects. The kernel is asked only where no earlier call has proven
   * that another socket is at the other end. release() is the way to a plain close(2).
   */
  close(): void {
    this.#end("close", "close()");
  }

  /** close(), at the end of the block of a `using` declaration. */
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
   * TcpSocket.fromTransfer(), once. Its state goes with it, "failed" with the error. The socket stays open until then,
   * even when this thread ends; one that nobody takes is closed when the process ends. The state here is then "closed".
   */
  transfer(): SocketTransfer {
    this.#assertOpen();
    const state = sendState(this.#state);
    const ticket = this.#checkResult(this.#native.shelve(this.#handle), { syscall: "close" });
    this.#enter({ name: "closed" }, "transfer()");
    return { pid: process.pid, ticket, state };
  }

  /**
   * Creates a net.Socket that takes over the file descriptor, as after release(). With `allowHalfOpen` it stays
   * writable after the peer's end of the stream, until end(), as with net.createServer(). Throws ERR_NOT_CONNECTED,
   * also after the peer has reset the connection. SO_LINGER {1, 0} is set on a socket that is joined to itself, so that
   * destroy() resets it; its end() sends no FIN (Linux): the reader gets every byte and the end of the stream, and then
   * the socket is reset.
   */
  toStream(options: { readonly allowHalfOpen?: boolean } = {}): net.Socket {
    checkKeys("toStream()", options, ["allowHalfOpen"]);
    checkFlags(options, ["allowHalfOpen"]);
    this.#assertOpen();
    if (this.#state.name === "connected") this.#settle(false);
    checkStreamable(this.state);
    const isJoined = this.#mayBeJoined() && this.#native.resetAtCloseIfJoined(this.#handle) > 0;
    const stream = new net.Socket({ fd: this.release(), readable: true, writable: true, ...options });
    if (isJoined) endWithoutFin(stream);
    return stream;
  }

  /**
   * listen(2), again, with the same backlog: gives the listening socket to a server of net, http, https or http2, by
   * default a new net.Server. It emits 'listening' next; the state here is "closed". The options for accepted sockets
   * go with it: one on which they cannot be set is destroyed with the error. Throws ERR_NOT_LISTENING,
   * ERR_SERVER_LISTENING; ERR_CLUSTER_WORKER in node:cluster, where Node takes the number for one of the primary's fds.
   */
  toServer<S extends net.Server = net.Server>(server: S = net.createServer() as S): S {
    this.#assertOpen();
    checkHandover(this.state, server);
    if (this.#state.name === "listening") setAcceptedOptions(server, this.#state.acceptedOptions);
    const backlog = this.getsockopt("information").sackedPackets;
    return server.listen({ fd: this.release() }, backlog);
  }

  /**
   * For logs: the descriptor, the state, and the addresses that the kernel reports now. While it reports no peer, that
   * is the address which the connect in progress, or the one that failed, was given.
   */
  toJSON(): { fd: number; state: SocketState; local?: Address; peer?: Address } {
    const { local, peer } = this.closed ? {} : this.readAddresses();
    const shown = peer ?? ("peer" in this.#state ? this.#state.peer : null);
    return { fd: this.fd, state: this.state, ...(local && { local }), ...(shown && { peer: shown }) };
  }

  /** What console.log() prints: toJSON(), with the name of the class. */
  [inspect.custom](_depth: number, options: object): string {
    return `TcpSocket ${inspect(this.toJSON(), options)}`;
  }

  /** @internal */
  protected override get open(): Handle {
    this.#assertOpen();
    return this.#handle;
  }

  /** @internal */
  protected override readBreak(): SocketError | null {
    if (this.#state.name !== "connected") return null;
    const settled = this.#settle(false);
    return settled.name === "failed" ? settled.error : null;
  }

  #assertOpen(): void {
    if (this.closed) throw invalidArgument("ERR_SOCKET_CLOSED", "the socket was closed, reset or released");
  }

  /** Enters the state that a result of connect(2) leads to. */
  #enterConnect(result: number, peer: Address): "connected" | "in-progress" {
    // While a connect is in progress, the kernel returns the result of that one.
    const asked = this.#state.name === "connecting" ? this.#state.peer : peer;
    if (result < 0) {
      const error = addressError(this.#native, this.open, result, { syscall: "connect", peer: asked });
      if (error.code !== "EISCONN") this.#enter({ name: "failed", peer: asked, error });
      throw error;
    }
    checkSamePeer(this.#state, peer, result);
    // With TCP_FASTOPEN_CONNECT connect(2) returns 0 before a SYN has left; there is no peer then.
    const isConnected = result === 0 && hasPeer(this.#native, this.#handle);
    if (isConnected) this.#enter({ name: "connected", peer: asked, isApart: false });
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

  #fail(errno: number, { peer }: Joining, syscall: string): Failed {
    const error = new SocketError(errno, { syscall, ...this.#errorAddresses() });
    const failed = { name: "failed", peer, error } as const;
    this.#enter(failed);
    return failed;
  }

  /** An error that a call returned: when it ended the connect or the connection, the state is then "failed". */
  #endBy(errno: number, syscall = "getsockopt"): SocketError | null {
    const state = this.#state;
    if (state.name === "connecting") return this.#fail(errno, state, "connect").error;
    // An error queue (IP_RECVERR) reports errors that a connection outlives.
    if (state.name !== "connected" || hasPeer(this.#native, this.open)) return null;
    return this.#fail(errno, state, syscall).error;
  }

  /** Returns a result of 0 or more; throws SocketError for -errno. */
  #checkResult(result: number, context: SocketErrorContext): number {
    if (result >= 0) return result;
    throw new SocketError(result, context);
  }

  /** For errors: the peer given to connect(), and the local address once it has a port. */
  #errorAddresses(): { local?: Address; peer?: Address } {
    const { local, peer } = this.readAddresses();
    const asked = "peer" in this.#state ? this.#state.peer : null;
    return { ...(local?.port && { local }), ...((asked ?? peer) && { peer: (asked ?? peer)! }) };
  }

  /** @internal Both directions may return the error of a connect in progress. */
  protected override callKernel(
    syscall: string,
    call: (native: Native, handle: Handle) => number,
  ): number | null {
    const result = call(this.#native, this.open);
    const state = this.#state;
    // After one call has returned the error of a connection, recv(2) returns 0 as at the end of the stream.
    const isBroken = result === 0 && state.name === "failed" && syscall.startsWith("recv");
    const errno = isBroken ? state.error.errno : result;
    if (errno >= 0) return errno;
    const code = errnoName(errno);
    // EINPROGRESS: a send of no bytes, or of bytes that the SYN could not take, has begun the connect that
    // TCP_FASTOPEN_CONNECT had deferred.
    if (code === "EAGAIN" || code === "EINPROGRESS") return null;
    const error = new SocketError(errno, { syscall, ...this.#errorAddresses() });
    const isShutDown = code === "EPIPE" && state.name === "connected" && syscall.startsWith("send");
    const isOwnError = code === "ENOTCONN" || code === "EINVAL" || syscall === "setsockopt" || isShutDown;
    if (!isOwnError) this.#endBy(errno, syscall);
    throw error;
  }

  /** Asks the kernel how the connect or the connection stands, and enters the state that follows. */
  #settle(isReady: boolean): State {
    const state = this.#state;
    if (state.name === "connected") {
      const result = this.#native.connectProgress(this.open);
      if (result < 0) this.#fail(result, state, "getsockopt");
    } else if (state.name === "connecting") {
      const { peer } = state;
      const result = readConnectResult(this.#native, this.open, peer, isReady);
      if (result < 0) this.#fail(result, state, "connect");
      else if (result !== IN_PROGRESS)
        this.#enter({ name: "connected", peer, isApart: result === PROVEN_APART });
    }
    return this.#state;
  }

  #createWait(): SharedWait {
    const start = (ready: Ready) => watchWritable(this.#native, this.#handle, ready);
    return new SharedWait(start, () => this.#settle(true).name !== "connecting");
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
    if (this.closed) return;
    const mayBeJoined = this.#mayBeJoined();
    this.#enter({ name: "closed" }, by);
    this.#native[how === "close" && mayBeJoined ? "closeChecked" : how](this.#handle);
  }

  /** Whether the kernel has not proven that this socket is not joined to itself. */
  #mayBeJoined(): boolean {
    const state = this.#state;
    return state.name === "connecting" || (state.name === "connected" && !state.isApart);
  }
}
