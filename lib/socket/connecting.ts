/** A connect(2) in progress: its result, as far as the kernel reports it, and the error at its deadline. */
import { constants } from "node:os";
import type { Address } from "./address.ts";
import { allocateAddress, isSameAddress, readAddress } from "./address.ts";
import { addressBytes } from "./address-bytes.ts";
import type { Attempt } from "./errors.ts";
import { DialError, errnoName, SocketError } from "./errors.ts";
import type { Handle, Native } from "./native.ts";
import { specify } from "./self-connect.ts";

/** What native calls return of a connect besides 0 (connected) and -errno: it goes on (native/core/syscall.h). */
export const IN_PROGRESS = 1;
/** Connected, and proven to be joined to another socket: native/core/joined.h. */
export const PROVEN_APART = 2;

/**
 * TCP_INFO, and SO_ERROR once the connect has ended: returns 0 or PROVEN_APART when the socket is connected,
 * IN_PROGRESS, or the -errno with which the connect ended. `isReady`: the poller has reported the end. When there is
 * neither an error nor a connection then, other code has read SO_ERROR through the descriptor; a second connect(2)
 * returns how the first one ended, without starting another.
 */
export function readConnectResult(native: Native, handle: Handle, peer: Address, isReady: boolean): number {
  const progress = native.connectProgress(handle);
  if (progress !== IN_PROGRESS || !isReady) return progress;
  const again = native.connect(handle, addressBytes(peer, native));
  if (again >= 0 || errnoName(again) !== "EISCONN") return again;
  // TCP_FASTOPEN_CONNECT: the SYN leaves with the first send(2).
  return hasPeer(native, handle) ? 0 : IN_PROGRESS;
}

/** getpeername(2): whether the socket is connected to a peer. */
export function hasPeer(native: Native, handle: Handle): boolean {
  return native.getpeername(handle, allocateAddress()) >= 0;
}

/**
 * Throws SocketError EALREADY or EISCONN where connect(2) was called for another peer than the connect before: what it
 * returned is the result of that one, and to this peer no connect was made.
 */
export function checkSamePeer(
  { name, peer: first = null }: { readonly name: string; readonly peer?: Address | null },
  peer: Address,
  result: number,
): void {
  const isUnderWay = name === "connecting" || name === "connected";
  if (!isUnderWay || first === null || isSameAddress(specify(first), specify(peer))) return;
  const errno = name === "connecting" && result > 0 ? constants.errno.EALREADY : constants.errno.EISCONN;
  throw new SocketError(-errno, { syscall: "connect", peer: first });
}

/** The error of bind(2) or connect(2). An address of the other family is EAFNOSUPPORT, or EINVAL of an IPv6 socket. */
export function addressError(
  native: Native,
  handle: Handle,
  result: number,
  context: { readonly syscall: "bind"; local: Address } | { readonly syscall: "connect"; peer: Address },
): SocketError {
  const code = errnoName(result);
  const address = "local" in context ? context.local : context.peer;
  const own =
    code === "EAFNOSUPPORT" || code === "EINVAL" ? readAddress(native, handle, "getsockname") : null;
  if (own === null || typeof own === "number" || own.family === address.family)
    return new SocketError(result, context);
  const mapped = own.family === 6 ? `, or write the address as ::ffff:${address.host}` : "";
  const is = `this is an IPv${own.family} socket and ${address.host} an IPv${address.family} address`;
  return new SocketError(result, {
    ...context,
    fix: `${is}: open the socket with family ${address.family}${mapped}`,
  });
}

/** The error with which connected() rejects at its deadline. */
export function deadlineError(
  elapsedMs: number,
  addresses: { readonly local?: Address; readonly peer: Address },
): DialError {
  const attempt: Attempt = { outcome: "deadline", elapsedMs, ...addresses };
  const message = `no reply to connect after ${Math.round(elapsedMs)} ms`;
  return new DialError("ERR_DEADLINE", message, [attempt]);
}
