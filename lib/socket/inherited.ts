/** Sockets that come from outside this environment: an inherited descriptor, or another thread. */
import cluster from "node:cluster";
import net from "node:net";
import { inspect } from "node:util";
import type { Address } from "./address.ts";
import { checkSameFamily, readAddress } from "./address.ts";
import { errnoName, SocketError } from "./errors.ts";
import { invalidArgument } from "./misuse.ts";
import type { Handle, Native } from "./native.ts";
import { readOption } from "./option-access.ts";
import type { SentState, State } from "./state.ts";
import { isSentState, receiveState } from "./state.ts";

/**
 * A connected, listening or unconnected socket on its way to another thread of this process: what transfer() returns
 * and TcpSocket.fromTransfer() takes, once. Pass it by postMessage() or workerData; it is a plain object.
 */
export interface SocketTransfer {
  /** The process whose threads may take the socket. */
  readonly pid: number;
  /** The place of the descriptor in that process. */
  readonly ticket: number;
  /** What the other thread cannot ask the kernel for. */
  readonly state: SentState;
}

/** A socket that was opened elsewhere, and its state. */
export interface KnownSocket {
  readonly handle: Handle;
  readonly state: State;
}

/** Puts the descriptor `fd` into a new handle, which then owns it. When it throws, the fd is the caller's. */
export function inherit(native: Native, fd: number, peer: Address | undefined): KnownSocket {
  if (!Number.isInteger(fd) || fd < 0 || fd > 2 ** 31 - 1) {
    throw invalidArgument(
      "ERR_INVALID_FD",
      `fd ${inspect(fd)} is not a file descriptor: use a number from 0`,
    );
  }
  const handle = native.handle();
  const result = native.inherit(handle, fd);
  if (result < 0) throw inheritError(result, fd);
  try {
    return { handle, state: readState(native, handle, peer) };
  } catch (error) {
    native.release(handle);
    throw error;
  }
}

function inheritError(result: number, fd: number): Error {
  const code = errnoName(result);
  if (code === "EBADF") return invalidArgument("ERR_INVALID_FD", `fd ${fd} is not open in this process`);
  if (code === "EEXIST") {
    return invalidArgument("ERR_FD_OWNED", `a TcpSocket owns fd ${fd} already: call its release() first`);
  }
  const message = describeOtherKind(code, fd);
  return message ? invalidArgument("ERR_NOT_TCP", message) : new SocketError(result, { syscall: "fcntl" });
}

/** Describes an fd that is not a TCP socket; null for any other errno. */
export function describeOtherKind(code: string, fd: number): string | null {
  if (code === "ENOTSOCK") return `fd ${fd} is not a socket, but a file, pipe or device`;
  if (code === "EPROTONOSUPPORT") return `fd ${fd} is a socket, but not of TCP over IPv4 or IPv6`;
  return null;
}

/** Puts the socket of a transfer into a new handle. Throws ERR_INVALID_TRANSFER. */
export function claim(native: Native, transfer: SocketTransfer): KnownSocket {
  const { pid, ticket, state } = transfer ?? {};
  if (!Number.isInteger(pid) || ticket !== (ticket | 0) || !isSentState(state)) {
    throw invalidTransfer("this is not what transfer() returned");
  }
  if (pid !== process.pid) {
    const fix = "transfer() reaches threads of one process; pass a stream to child.send() instead";
    throw invalidTransfer(`the socket is of process ${pid}, and this is ${process.pid}: ${fix}`);
  }
  const handle = native.handle();
  const result = native.claim(handle, ticket);
  if (result >= 0) return { handle, state: receiveState(state) };
  throw invalidTransfer(
    "this socket was taken before: a transfer can be used once, by one copy of selfconnect",
  );
}

function invalidTransfer(message: string): TypeError | RangeError {
  return invalidArgument("ERR_INVALID_TRANSFER", message);
}

/** The state that the kernel reports of a socket that was opened elsewhere. `asked` is the peer of its connect(2). */
function readState(native: Native, handle: Handle, asked: Address | undefined): State {
  const get = (row: number, into: BigInt64Array | Uint8Array) => native.getsockopt(handle, row, into);
  if (readOption(native, "listening", get)) return { name: "listening", acceptedOptions: {} };
  const peer = readAddress(native, handle, "getpeername");
  if (typeof peer === "object") return { name: "connected", peer, isApart: false };
  const own = readAddress(native, handle, "getsockname");
  if (asked && typeof own === "object") checkSameFamily(own, asked);
  const { state } = readOption(native, "information", get);
  const isConnecting = state === "SYN-SENT" || state === "SYN-RECEIVED";
  // A connect that has ended without a connection has an error, which connected() reports.
  if (asked && (isConnecting || state === "CLOSED")) return { name: "connecting", peer: asked, wait: null };
  if (!isConnecting) return { name: "unconnected" };
  const fix =
    "pass its peer too, the address that was given to connect(2), or wait until the connect has ended";
  throw invalidArgument("ERR_PEER_UNKNOWN", `fd ${native.fd(handle)} is still connecting: ${fix}`);
}

/** Throws what toStream() documents. */
export function checkStreamable(state: string): void {
  if (state === "connected") return;
  const fix = state === "listening" ? "use toServer()" : "await connected() first";
  const message = `toStream() needs a connected socket, but this one is ${state}: ${fix}`;
  throw invalidArgument("ERR_NOT_CONNECTED", message);
}

/** Throws what toServer() documents. */
export function checkHandover(state: string, server: net.Server): void {
  if (state !== "listening") {
    const fix = state === "connected" ? "use toStream()" : "call bind() and listen() first";
    const message = `toServer() needs a listening socket, but this one is ${state}: ${fix}`;
    throw invalidArgument("ERR_NOT_LISTENING", message);
  }
  if (!(server instanceof net.Server)) {
    const fix = "pass a server of net, tls, http, https or http2 that does not listen yet";
    throw invalidArgument("ERR_INVALID_SERVER", `toServer() got no server: ${fix}`);
  }
  if (server.listening) {
    throw invalidArgument("ERR_SERVER_LISTENING", "this server listens already: pass a new one");
  }
  if (cluster.isWorker) {
    const fix = "set reusePort and call listen() in each process that is started by child_process instead";
    throw invalidArgument("ERR_CLUSTER_WORKER", `node:cluster takes descriptors of the primary only: ${fix}`);
  }
}
