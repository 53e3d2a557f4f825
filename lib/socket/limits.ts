/** The limits of a wait on a socket, and the error of a wait that ended before its event. */
import type { Address } from "./address.ts";
import { brand } from "./errors.ts";
import { checkDeadline, checkKeys, checkSignal, invalidArgument } from "./misuse.ts";

/** What ends a wait on a socket before its event. Without limits it ends with the event or when the socket closes. */
export interface WaitLimits {
  /** In milliseconds from now, 0 to 2^31 - 1; then the wait rejects with ERR_DEADLINE. The socket is unchanged. */
  readonly deadlineMs?: number;
  /** When it aborts, the wait rejects with its reason. The socket is unchanged. */
  readonly signal?: AbortSignal;
}

const LIMIT_KEYS = ["deadlineMs", "signal"] as const satisfies readonly (keyof WaitLimits)[];

/** Throws ERR_INVALID_OPTIONS, ERR_UNKNOWN_OPTION for a key that is none of `names`, and for a wrong limit its code. */
export function checkLimits(call: string, limits: WaitLimits, names: readonly string[] = LIMIT_KEYS): void {
  checkKeys(call, limits, names);
  checkDeadline(limits.deadlineMs);
  checkSignal(limits.signal);
}

/** The error of a wait that ended because `method` closed the socket; `what` names the call that waited. */
export function closedError(method: string, what: string): TypeError {
  return invalidArgument("ERR_SOCKET_CLOSED", `${method} was called while ${what}`);
}

/** In this order: `deadlineMs` passed; the peer ended the stream before all bytes arrived. */
export type WaitErrorCode = "ERR_DEADLINE" | "ERR_END_OF_STREAM";

/** What a WaitError reports. */
export interface WaitErrorContext {
  /** The call that was waited for. */
  readonly syscall: string;
  /** Milliseconds that were waited. */
  readonly elapsedMs: number;
  /** Bytes sent or received before the wait ended. */
  readonly transferred: number;
  /** The bytes received before the wait ended. */
  readonly bytes?: Uint8Array;
  /** getsockname(2) of the socket. */
  readonly local?: Address;
  /** The peer of the socket. */
  readonly peer?: Address;
}

/**
 * A wait on a socket ended before its event. The socket is still open, and the bytes that were transferred are not
 * lost: `transferred` counts them, and the error of receiveExactly() has them in `bytes`.
 */
export class WaitError extends Error {
  /** "WaitError". */
  override readonly name = "WaitError";
  /** "ERR_DEADLINE" or "ERR_END_OF_STREAM". */
  readonly code: WaitErrorCode;
  /** The call that would have blocked: "accept", "send", "recv", or "poll" for readable() and writable(). */
  readonly syscall: string;
  /** Milliseconds since the call. */
  readonly elapsedMs: number;
  /** How many bytes sendAll() sent, or receiveExactly() received; 0 for the other calls. */
  readonly transferred: number;
  /** The bytes that receiveExactly() received. */
  declare readonly bytes?: Uint8Array;
  /** getsockname(2) of the socket, when it was known. */
  declare readonly local?: Address;
  /** The peer of the socket, when it has one. */
  declare readonly peer?: Address;

  constructor(code: WaitErrorCode, message: string, context: WaitErrorContext) {
    super(message);
    this.code = code;
    this.syscall = context.syscall;
    this.elapsedMs = context.elapsedMs;
    this.transferred = context.transferred;
    if (context.bytes) this.bytes = context.bytes;
    if (context.local) this.local = context.local;
    if (context.peer) this.peer = context.peer;
  }
}

brand(WaitError, Symbol.for("selfconnect.WaitError"));
