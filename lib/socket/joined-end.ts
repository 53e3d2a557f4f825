/** The end of a stream that is joined to itself: without a FIN, after which TIME-WAIT keeps the port for a minute. */
import type net from "node:net";
import { nativeOrNull } from "./native.ts";

/** What Node's shutdown() of a handle returns when it is done at once, since Node 12: _final() then ends. */
const DONE = 1;

const FIRST_DELAY_MS = 1;
const LAST_DELAY_MS = 64;

/** The methods of a stream's handle that this file uses. */
export interface EndingHandle {
  readonly fd: number;
  shutdown(request: object): number;
}

/** Makes end() of this stream, which is joined to itself, the end that endJoined() is. */
export function endWithoutFin(stream: net.Socket): void {
  const handle = (stream as { _handle?: EndingHandle | null })._handle;
  // Other runtimes have handles of another kind: there end() sends FIN.
  if (typeof handle?.shutdown !== "function") return;
  const { shutdown } = handle;
  handle.shutdown = (request) => endJoined(handle) ?? shutdown.call(handle, request);
}

/**
 * Ends the stream of a handle that is joined to itself and has written all: its reader gets the end of the stream
 * after the last byte, and close(2) resets. Returns what shutdown() of a handle returns, or null where the kernel
 * cannot do that: a FIN has to do.
 */
export function endJoined(handle: EndingHandle): number | null {
  return tryEnd(handle, FIRST_DELAY_MS) ? DONE : null;
}

/**
 * Tries again later while bytes wait for room in the receive queue, which the reader makes. The timer does not keep
 * the process running: a stream that reads does that itself, and of one that does not nobody waits for the end.
 */
function tryEnd(handle: EndingHandle, delayMs: number): boolean {
  const result = handle.fd < 0 ? DONE : (nativeOrNull()?.endJoinedOf(handle.fd) ?? -1);
  if (result === 0) setTimeout(tryEnd, delayMs, handle, Math.min(2 * delayMs, LAST_DELAY_MS)).unref();
  return result >= 0;
}
