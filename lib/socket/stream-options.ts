/** Socket options of a connection that Node opened: net.Socket, TLS, HTTP, HTTP/2, and servers. */
import net from "node:net";
import { errnoName, SocketError } from "./errors.ts";
import { describeOtherKind } from "./inherited.ts";
import { invalidArgument } from "./misuse.ts";
import type { Native } from "./native.ts";
import { loadNative } from "./native.ts";
import { readOption, writeOption } from "./option-access.ts";
import type { TcpInformation } from "./option-structures.ts";
import type { OptionName, SocketOptions } from "./options.ts";
import { StreamSocket } from "./stream-socket.ts";

/** An HTTP/2 stream has a session, which has a socket: no object of Node is further from its socket. */
const MOST_STEPS = 4;

interface NodeHandle {
  readonly fd?: number;
}

/** What we read of Node's objects. `fd` is that of libuv's handle, which TLS passes on from the socket below it. */
interface NodeObject {
  readonly _handle?: NodeHandle | null;
  readonly socket?: NodeObject | null;
  readonly session?: NodeObject | null;
  readonly destroyed?: boolean;
  readonly connecting?: boolean;
}

/**
 * getsockopt(2) and setsockopt(2) of a connection or listener of Node: a net.Socket, a TLS socket, a request or
 * response of http or https, a session or stream of http2, a net.Server. The descriptor stays Node's. Throws
 * ERR_INVALID_STREAM for anything else. Bun and Deno do not report the descriptor: get() and set() then throw
 * ERR_STREAM_WITHOUT_FD.
 */
export function socketOptions(stream: object): StreamOptions {
  if (stream instanceof StreamSocket) {
    const fix = "use its own getsockopt() and setsockopt()";
    throw invalidArgument("ERR_INVALID_STREAM", `this is a TcpSocket: ${fix}`);
  }
  const isObject = typeof stream === "object" && stream !== null;
  if (isObject && ["_handle", "socket", "session"].some((name) => name in stream)) {
    return new StreamOptions(stream);
  }
  const expected =
    "a net.Socket, TLS socket, net.Server, http request or response, or http2 session or stream";
  throw invalidArgument("ERR_INVALID_STREAM", `this is not ${expected}`);
}

/**
 * @internal Sets the options on each socket that the server accepts, before its 'connection' event reaches anybody. A
 * socket on which one cannot be set is destroyed with the error.
 */
export function setAcceptedOptions(server: net.Server, options: Partial<SocketOptions>): void {
  if (Object.keys(options).length === 0) return;
  server.prependListener("connection", (socket: net.Socket) => {
    try {
      setStreamOptions(socket, options);
    } catch (error) {
      socket.destroy(error as Error);
    }
  });
}

/** @internal set() for each option in the order given; one that is undefined is left out. */
export function setStreamOptions(stream: object, options: Partial<SocketOptions>): void {
  const settable = socketOptions(stream);
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) settable.set(name as OptionName, value as SocketOptions[OptionName]);
  }
}

/** The options of one connection or listener of Node; made by socketOptions(). */
export class StreamOptions {
  readonly #native: Native = loadNative();
  readonly #stream: NodeObject;
  /** The handle that was found to be of TCP. A stream that connects again has another, maybe with the same number. */
  #tcpHandle: NodeHandle | null = null;

  /** @internal Use socketOptions(). */
  constructor(stream: object) {
    this.#stream = stream;
  }

  /**
   * getsockopt(2). Throws what TcpSocket.getsockopt() throws; ERR_STREAM_NOT_CONNECTED before there is a socket,
   * ERR_STREAM_CLOSED after it, ERR_NOT_TCP for a Unix domain socket.
   */
  get<N extends OptionName>(name: N): SocketOptions[N] {
    const fd = this.#findFd();
    return readOption(this.#native, name, (row, into) => this.#native.getsockoptOf(fd, row, into));
  }

  /** setsockopt(2). Throws what TcpSocket.setsockopt() throws, and the codes of get(). */
  set<N extends OptionName>(name: N, value: SocketOptions[N]): this {
    const fd = this.#findFd();
    writeOption(this.#native, name, value, (row, from) => this.#native.setsockoptOf(fd, row, from));
    return this;
  }

  /** TCP_INFO. Throws the codes of get(). */
  information(): TcpInformation {
    return this.get("information");
  }

  /** Asks the stream at each call: a descriptor that it has closed may be another file's by now. */
  #findFd(): number {
    const { handle, fd } = findFd(this.#stream);
    if (handle === this.#tcpHandle) return fd;
    const result = this.#native.checkTcp(fd);
    if (result < 0) {
      const message = describeOtherKind(errnoName(result), fd);
      if (message) throw invalidArgument("ERR_NOT_TCP", `the stream is not TCP: ${message}`);
      throw new SocketError(result, { syscall: "getsockopt" });
    }
    this.#tcpHandle = handle;
    return fd;
  }
}

function findFd(stream: NodeObject): { handle: NodeHandle; fd: number } {
  const owner = findOwner(stream);
  const handle = owner?._handle;
  const fd = handle?.fd;
  if (handle && typeof fd === "number" && fd >= 0) return { handle, fd };
  throw withoutFd(owner ?? stream, owner !== null);
}

/** The object with a handle: the stream itself, or the one below it. Null when the stream has no socket now. */
function findOwner(stream: NodeObject): NodeObject | null {
  let owner: NodeObject | null | undefined = stream;
  for (let step = 0; owner && step < MOST_STEPS; step++) {
    // A read, not `in`: the socket of an http2 session is a proxy that only passes reads on.
    if (owner._handle !== undefined || owner instanceof net.Socket) return owner;
    owner = owner.socket ?? owner.session;
  }
  return null;
}

function withoutFd(owner: NodeObject, isSocket: boolean): Error {
  if (owner.destroyed) {
    return invalidArgument("ERR_STREAM_CLOSED", "the stream is closed, and its socket with it");
  }
  if (!isSocket || owner.connecting || owner._handle === null) {
    const fix = "wait for 'connect' (of a request: 'socket', then 'connect'; of a server: 'listening')";
    return invalidArgument("ERR_STREAM_NOT_CONNECTED", `the stream has no socket at present: ${fix}`);
  }
  const { bun, deno } = process.versions;
  const why = bun
    ? "Bun does not report it. Use TcpSocket"
    : deno
      ? "Deno does not report it. Use TcpSocket"
      : "it runs over another stream. Pass that one";
  return invalidArgument("ERR_STREAM_WITHOUT_FD", `the descriptor of this stream is unknown: ${why}`);
}
