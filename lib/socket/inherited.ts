/** Sockets that come from outside this environment: an inherited descriptor, another thread, a network namespace. */
import cluster from "node:cluster";
import { closeSync, constants, openSync } from "node:fs";
import type net from "node:net";
import type { Address } from "./address.ts";
import { ADDRESS_BYTES, decodeAddress, interfaceName } from "./address.ts";
import { errnoName, SocketError, threadError } from "./errors.ts";
import { invalidArgument } from "./misuse.ts";
import type { Handle, Native } from "./native.ts";
import { readOption } from "./option-access.ts";

/**
 * A connected, listening or unconnected socket on its way to another thread of this process: what transfer() returns
 * and TcpSocket.fromTransfer() takes, once. Pass it by postMessage() or workerData; it is a plain object.
 */
export interface SocketTransfer {
  /** The process whose threads may take the socket. */
  readonly pid: number;
  /** The place of the descriptor in that process. */
  readonly ticket: number;
  /** The peer of a connect that is in progress. */
  readonly peer?: Address;
}

/** Puts the descriptor `fd` into the empty handle, which then owns it. When it throws, the fd is the caller's. */
export function inherit(native: Native, handle: Handle, fd: number): void {
  if (!Number.isInteger(fd) || fd < 0 || fd > 2 ** 31 - 1) {
    throw invalidArgument("ERR_INVALID_FD", `fd ${String(fd)} is not a file descriptor: use a number from 0`);
  }
  const result = native.inherit(handle, fd);
  if (result < 0) throw inheritError(result, fd);
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

/** Says what an fd is that is not a TCP socket; null for any other errno. */
export function describeOtherKind(code: string, fd: number): string | null {
  if (code === "ENOTSOCK") return `fd ${fd} is not a socket, but a file, pipe or device`;
  if (code === "EPROTONOSUPPORT") return `fd ${fd} is a socket, but not of TCP over IPv4 or IPv6`;
  return null;
}

/** Puts the socket of a transfer into the empty handle. Throws ERR_INVALID_TRANSFER. */
export function claim(native: Native, handle: Handle, transfer: SocketTransfer): void {
  const { pid, ticket } = transfer ?? {};
  if (!Number.isInteger(pid) || !Number.isInteger(ticket)) {
    throw invalidTransfer("this is not what transfer() returned");
  }
  if (pid !== process.pid) {
    const fix = "transfer() reaches threads of one process; pass a stream to child.send() instead";
    throw invalidTransfer(`the socket is of process ${pid}, and this is ${process.pid}: ${fix}`);
  }
  const result = native.claim(handle, ticket);
  if (result >= 0) return;
  throw invalidTransfer(
    "this socket was taken before: a transfer can be used once, by one copy of selfconnect",
  );
}

function invalidTransfer(message: string): TypeError | RangeError {
  return invalidArgument("ERR_INVALID_TRANSFER", message);
}

type KnownState =
  | { readonly name: "unconnected" | "listening" }
  | { readonly name: "connected"; readonly peer: Address }
  | { readonly name: "connecting"; readonly peer: Address; wait: null };

/** The state that the kernel reports of a socket that was opened elsewhere. `asked` is the peer of its connect(2). */
export function readState(native: Native, handle: Handle, asked: Address | undefined): KnownState {
  const get = (row: number, into: BigInt64Array | Uint8Array) => native.getsockopt(handle, row, into);
  if (readOption(native, "listening", get)) return { name: "listening" };
  const bytes = new Uint8Array(ADDRESS_BYTES);
  const hasPeer = native.getpeername(handle, bytes) >= 0;
  const peer = hasPeer ? decodeAddress(bytes, (index) => interfaceName(index, native)) : asked;
  const { state } = readOption(native, "information", get);
  const isConnecting = state === "SYN-SENT" || state === "SYN-RECEIVED";
  if (!isConnecting) return peer && hasPeer ? { name: "connected", peer } : { name: "unconnected" };
  if (peer) return { name: "connecting", peer, wait: null };
  const fix =
    "pass its peer too, the address that was given to connect(2), or wait until the connect has ended";
  throw invalidArgument("ERR_PEER_UNKNOWN", `fd ${native.fd(handle)} is still connecting: ${fix}`);
}

/** Throws what toServer() documents. */
export function checkHandover(state: string, server: net.Server): void {
  if (state !== "listening") {
    const fix = state === "connected" ? "use toStream()" : "call bind() and listen() first";
    const message = `toServer() needs a listening socket, but this one is ${state}: ${fix}`;
    throw invalidArgument("ERR_NOT_LISTENING", message);
  }
  if (server.listening) {
    throw invalidArgument("ERR_SERVER_LISTENING", "this server listens already: pass a new one");
  }
  if (cluster.isWorker) {
    const fix = "set reusePort and call listen() in each process that is started by child_process instead";
    throw invalidArgument("ERR_CLUSTER_WORKER", `node:cluster takes descriptors of the primary only: ${fix}`);
  }
}

/** setns(2) on a thread of its own, then socket(2). Throws SocketError: open ENOENT, setns EPERM, EINVAL … */
export function openInNamespace(native: Native, handle: Handle, family: 4 | 6, namespace: string): void {
  if (typeof namespace !== "string" || namespace === "") {
    const fix = 'use a path, such as "/proc/4711/ns/net" or "/run/netns/name"';
    throw invalidArgument("ERR_INVALID_NAMESPACE", `namespace ${String(namespace)} is not a path: ${fix}`);
  }
  const fd = openNamespace(namespace);
  try {
    const result = native.socketInNamespace(handle, family, fd);
    if (result < 0) throw namespaceError(result, namespace);
  } finally {
    closeSync(fd);
  }
}

function openNamespace(namespace: string): number {
  try {
    // A path that is a FIFO by mistake must not block.
    return openSync(namespace, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { errno, code } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    const fix = `${namespace} must be the network namespace of a live process, or one of "ip netns"`;
    throw new SocketError(errno, { syscall: "open", ...(code !== "EMFILE" && code !== "ENFILE" && { fix }) });
  }
}

function namespaceError(result: number, namespace: string): SocketError {
  const code = errnoName(result);
  if (code === "EPERM") {
    const fix = `entering ${namespace} needs CAP_SYS_ADMIN, here and in the user namespace that owns it`;
    return new SocketError(result, { syscall: "setns", fix });
  }
  if (code === "EINVAL") {
    return new SocketError(result, { syscall: "setns", fix: `${namespace} is not a network namespace` });
  }
  if (code === "ENOSYS") {
    return new SocketError(result, { syscall: "setns", fix: "only Linux has network namespaces" });
  }
  return threadError(result, "socket");
}
