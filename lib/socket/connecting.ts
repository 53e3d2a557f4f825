/** A connect(2) in progress: its result, as far as the kernel reports it, and the error at its deadline. */
import type { Address } from "./address.ts";
import { ADDRESS_BYTES, addressBytes } from "./address.ts";
import type { Attempt } from "./errors.ts";
import { DialError, errnoName } from "./errors.ts";
import type { Handle, Native } from "./native.ts";

/** What readConnectResult() returns besides 0 (connected) and -errno: native/core/joined.h. */
const CONNECTING = 1;
/** Connected, and proven to be joined to another socket. */
export const CONNECTED_APART = 2;

/**
 * TCP_INFO, and SO_ERROR once the connect has ended: returns 0 or CONNECTED_APART when the socket is connected,
 * CONNECTING, or the -errno with which the connect ended. `isReady`: the poller has reported the end. When there is
 * neither an error nor a connection then, other code has read SO_ERROR through the descriptor; a second connect(2)
 * returns how the first one ended, without starting another.
 */
export function readConnectResult(native: Native, handle: Handle, peer: Address, isReady: boolean): number {
  const progress = native.connectProgress(handle);
  if (progress !== CONNECTING || !isReady) return progress;
  const again = native.connect(handle, addressBytes(peer, native));
  if (again >= 0 || errnoName(again) !== "EISCONN") return again;
  // TCP_FASTOPEN_CONNECT: the SYN leaves with the first send(2).
  return hasPeer(native, handle) ? 0 : CONNECTING;
}

/** getpeername(2): whether the socket is connected to a peer. */
export function hasPeer(native: Native, handle: Handle): boolean {
  return native.getpeername(handle, new Uint8Array(ADDRESS_BYTES)) >= 0;
}

/** The error with which connected() rejects at its deadline. */
export function connectDeadlineError(
  elapsedMs: number,
  addresses: { readonly local?: Address; readonly peer: Address },
): DialError {
  const attempt: Attempt = { outcome: "deadline", elapsedMs, ...addresses };
  const message = `no reply to connect after ${Math.round(elapsedMs)} ms`;
  return new DialError("ERR_DEADLINE", message, [attempt]);
}
