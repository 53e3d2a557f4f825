/** A connect(2) in progress: its result, as far as the kernel reports it, and the error at its deadline. */
import type { Address } from "./address.ts";
import { ADDRESS_BYTES, addressBytes } from "./address.ts";
import type { Attempt } from "./errors.ts";
import { DialError, errnoName } from "./errors.ts";
import type { Handle, Native } from "./native.ts";

/**
 * SO_ERROR, then getpeername(2): returns 0 when the socket is connected, 1 while the connect is in progress, or the
 * -errno with which it ended. `isReady`: the poller has reported the end. When there is then neither an error nor a
 * peer, other code has read SO_ERROR through the descriptor; a second connect(2) returns how the first one ended,
 * without starting another.
 */
export function readConnectResult(native: Native, handle: Handle, peer: Address, isReady: boolean): number {
  const errno = native.takeError(handle);
  if (errno !== 0) return errno < 0 ? errno : -errno;
  if (hasPeer(native, handle)) return 0;
  if (!isReady) return 1;
  const again = native.connect(handle, addressBytes(peer, native));
  // TCP_FASTOPEN_CONNECT: the SYN leaves with the first send(2).
  const isDeferred = again < 0 && errnoName(again) === "EISCONN" && !hasPeer(native, handle);
  return isDeferred ? 1 : again;
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
