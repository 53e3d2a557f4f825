/** The part of TcpSocket that waits, and that sends and receives bytes. */
import type { Address } from "./address.ts";
import { checkBuffers, checkBytes } from "./bytes.ts";
import type { WaitLimits } from "./limits.ts";
import { checkLimits } from "./limits.ts";
import type {
  MessageOptions,
  MessageReports,
  MessageStamps,
  ReceivedMessage,
  ReceiveOptions,
} from "./message.ts";
import { RawMessage, receive, sendMessage, setReports } from "./message.ts";
import { checkFlags, checkKeys, invalidArgument } from "./misuse.ts";
import type { Handle, Native } from "./native.ts";
import { loadNative } from "./native.ts";
import { OptionSocket } from "./option-socket.ts";
import { yieldToLoop } from "./reactor.ts";
import type { SocketState } from "./state.ts";
import type { SocketOperation } from "./transfer.ts";
import {
  acceptOperation,
  iterate,
  pollOperation,
  receiveOperation,
  sendOperation,
  waitError,
} from "./transfer.ts";
import { SocketWaits } from "./waits.ts";

/** TcpSocket is the only subclass; `Accepted` is TcpSocket too, which this file cannot import. */
export abstract class StreamSocket<Accepted extends { reset(): void }> extends OptionSocket {
  /** Null until a method other than connected() waits for the first time. */
  #waits: SocketWaits | null = null;

  abstract readonly state: SocketState;
  abstract connected(limits?: WaitLimits): Promise<this>;
  abstract accept(): Accepted | null;
  abstract toJSON(): { readonly local?: Address; readonly peer?: Address };

  /**
   * @internal Makes a system call on the open socket. Returns its result, or null for EAGAIN. Throws
   * ERR_SOCKET_CLOSED, and SocketError for any other -errno.
   */
  protected abstract callKernel(
    syscall: string,
    call: (native: Native, handle: Handle) => number,
  ): number | null;

  /**
   * accept4(2), after waiting for a connection. Several callers get connections in the order of their calls. Rejects as
   * accept() throws, and with WaitError ERR_DEADLINE, the signal's reason, or ERR_SOCKET_CLOSED; the listener is
   * unchanged. Keeps the process running, and yields to timers and I/O while connections are in the queue.
   */
  accepted(limits: WaitLimits = {}): Promise<Accepted> {
    return this.#perform(() => acceptOperation(() => this.accept()), limits);
  }

  /** connections() without limits. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Accepted> {
    return this.connections();
  }

  /**
   * accepted(), for each connection; `deadlineMs` is for each. Leaving the loop, a deadline and an abort leave the
   * listener open. The loop ends when it is closed, and throws what accepted() rejects with.
   */
  connections(limits: WaitLimits = {}): AsyncIterableIterator<Accepted> {
    checkLimits("connections()", limits);
    return iterate((signal) => this.accepted({ ...limits, signal }), limits.signal);
  }

  /**
   * send(2) without SIGPIPE. Returns the number of bytes sent; 0 when the send buffer is full (EAGAIN). `urgent`:
   * MSG_OOB, the last byte becomes urgent data. Throws ERR_INVALID_BYTES, SocketError EPIPE, ECONNRESET …
   */
  send(bytes: Uint8Array, options: { readonly urgent?: boolean } = {}): number {
    checkBytes(bytes, "send()");
    checkKeys("send()", options, ["urgent"]);
    checkFlags(options, ["urgent"]);
    const urgent = options.urgent ? 1 : 0;
    return this.callKernel("send", (native, handle) => native.send(handle, bytes, urgent)) ?? 0;
  }

  /**
   * writev(2) without SIGPIPE: sends the bytes of the buffers in their order, of at most the first 1,024 buffers.
   * Returns the number of bytes sent; 0 when the send buffer is full (EAGAIN).
   */
  writev(buffers: readonly Uint8Array[]): number {
    checkBuffers(buffers, "writev()");
    return this.callKernel("sendmsg", (native, handle) => native.sendmsg(handle, buffers)) ?? 0;
  }

  /**
   * sendmsg(2): as writev(), and with the control message SO_TIMESTAMPING: the error queue then reports times of this
   * message only, if reportMessages({ requested: true }) was called before, else nothing. The times are Linux only:
   * SocketError ENOSYS elsewhere.
   */
  sendmsg(buffers: readonly Uint8Array[], stamps: MessageStamps = {}): number {
    checkBuffers(buffers, "sendmsg()");
    checkKeys("sendmsg()", stamps, ["sent", "acknowledged"]);
    checkFlags(stamps, ["sent", "acknowledged"]);
    const send = (native: Native, handle: Handle) => sendMessage(native, handle, buffers, stamps);
    return this.callKernel("sendmsg", send) ?? 0;
  }

  /**
   * send(2) until all bytes are sent, after the connect in progress and after earlier calls of sendAll(). Leave the
   * buffer unchanged until then. Rejects as send() throws, with `transferred` on the SocketError; with WaitError
   * ERR_DEADLINE, whose `transferred` bytes were sent: continue after them; with the signal's reason or
   * ERR_SOCKET_CLOSED, which do not report how many bytes were sent.
   */
  sendAll(bytes: Uint8Array, limits: WaitLimits = {}): Promise<void> {
    return this.#perform(() => sendOperation((part) => this.send(part), bytes), limits);
  }

  /** recv(2). Returns the number of bytes read; 0 at the end of the stream, null before data arrives (EAGAIN). */
  recv(into: Uint8Array, options?: ReceiveOptions): number | null {
    return this.callKernel("recv", (native, handle) => receive(native, handle, into, options));
  }

  /**
   * recv(2) until `into`, or a new buffer of this length, is full; after the connect in progress and after earlier
   * calls of receiveExactly(). Rejects as recv() throws; with WaitError ERR_DEADLINE or ERR_END_OF_STREAM, whose
   * `bytes` arrived before; with the signal's reason or ERR_SOCKET_CLOSED: earlier bytes are then in `into` only.
   */
  receiveExactly(lengthOrInto: number | Uint8Array, limits: WaitLimits = {}): Promise<Uint8Array> {
    return this.#perform(() => receiveOperation((into) => this.recv(into), lengthOrInto), limits);
  }

  /**
   * poll(2), POLLIN: waits until recv(), or accept() of a listener, would not block: there are bytes, the end of the
   * stream, a connection, an error, or a report in the error queue. Read it, or the next call resolves at once.
   * Waits for a connect in progress first. Rejects as connected() does, and with WaitError ERR_DEADLINE.
   */
  readable(limits: WaitLimits = {}): Promise<void> {
    return this.#perform(() => pollOperation("read"), limits);
  }

  /** poll(2), POLLOUT: waits until send() would not block: there is space, or an error. See readable(). */
  writable(limits: WaitLimits = {}): Promise<void> {
    return this.#perform(() => pollOperation("write"), limits);
  }

  /**
   * recvmsg(2): the bytes, and what reportMessages() asked for. Null before data arrives, or while the error queue is
   * empty (EAGAIN). Linux only: SocketError ENOSYS elsewhere.
   */
  recvmsg(into: Uint8Array, options: MessageOptions = {}): ReceivedMessage | null {
    const message = new RawMessage();
    const length = this.callKernel("recvmsg", (native, handle) =>
      message.receive(native, handle, into, options),
    );
    return length === null ? null : message.decode(length);
  }

  /**
   * setsockopt(2), IP_RECVERR, IPV6_RECVERR and SO_TIMESTAMPING: what recvmsg() reports from now on. Linux only:
   * SocketError ENOSYS elsewhere; EINVAL for `sent`, `acknowledged` and `requested` before the socket is connected.
   */
  reportMessages(reports: MessageReports): this {
    this.callKernel("setsockopt", (native, handle) => setReports(native, handle, reports));
    return this;
  }

  /** Performs an operation as soon as it does not block. Creates it here, so that wrong arguments reject. */
  async #perform<T>(create: () => SocketOperation<T>, limits: WaitLimits): Promise<T> {
    const operation = create();
    checkLimits(operation.method, limits);
    limits.signal?.throwIfAborted();
    const waits = this.#openWaits();
    const startedAt = performance.now();
    let { deadlineMs } = limits;
    if (operation.syscall !== "accept" && (this.state === "connecting" || this.state === "failed")) {
      // connected() would wait for a send for ever.
      const isFirstSend = operation.direction === "write" && this.#isConnectDeferred();
      const step = isFirstSend ? operation.step() : "blocked";
      if (operation.isPoll && typeof step === "object") return step.value;
      await this.connected(limits);
      if (deadlineMs !== undefined) deadlineMs = Math.max(0, deadlineMs - (performance.now() - startedAt));
    }
    checkState(operation, this.state);
    const left = { ...limits, ...(deadlineMs !== undefined && { deadlineMs }) };
    const result = await waits.perform(operation, left, () => {
      const { local, peer } = this.toJSON();
      const elapsedMs = performance.now() - startedAt;
      return waitError("ERR_DEADLINE", operation, {
        elapsedMs,
        ...(local && { local }),
        ...(peer && { peer }),
      });
    });
    // Check neither the signal nor the state after this: the connection or the bytes would be lost.
    await yieldToLoop();
    return result;
  }

  /** @internal Rejects all waits. An error costs a stack trace, so it is created only for a socket that has waited. */
  protected endWaits(createError: () => Error): void {
    this.#waits?.end(createError());
  }

  /**
   * poll(2), TCP_INFO: whether connect(2) has left the SYN to the first send(2) (TCP_FASTOPEN_CONNECT). No other
   * connect in progress is writable. SO_ERROR is left to connected().
   */
  #isConnectDeferred(): boolean {
    if (this.state !== "connecting" || process.platform !== "linux") return false;
    return loadNative().poll(this.open, 0, 1) > 0 && this.getsockopt("information").state === "SYN-SENT";
  }

  /** Throws ERR_SOCKET_CLOSED. */
  #openWaits(): SocketWaits {
    this.callKernel("poll", (native, handle) => {
      this.#waits ??= new SocketWaits(native, handle);
      return 0;
    });
    return this.#waits!;
  }
}

/** accept(2) reports a wrong state itself. A listener can only become readable. */
function checkState({ method, syscall, direction }: SocketOperation<unknown>, state: SocketState): void {
  if (state === "connected" || syscall === "accept") return;
  if (state === "listening" && syscall === "poll" && direction === "read") return;
  const fix = state === "listening" ? "call it on a socket that accepted() returned" : "call connect() first";
  const message = `${method} needs a connected socket, but this one is ${state}: ${fix}`;
  throw invalidArgument("ERR_NOT_CONNECTED", message);
}
