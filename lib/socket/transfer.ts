/** The operations that a TcpSocket can wait for: accept, poll, and the transfer of all bytes of a buffer. */
import { assertLength, checkBytes } from "./bytes.ts";
import { SocketError } from "./errors.ts";
import type { WaitErrorCode, WaitErrorContext } from "./limits.ts";
import { WaitError } from "./limits.ts";
import { invalidArgument } from "./misuse.ts";
import type { Operation, Step } from "./waits.ts";

const LONGEST_BYTES = 2 ** 32 - 1;

/** An operation of a TcpSocket. */
export interface SocketOperation<T> extends Operation<T> {
  /** The method of TcpSocket that performs it, for errors: "sendAll()". */
  readonly method: string;
  /** What has happened so far, for the error at the deadline. */
  progress(): Progress;
}

interface Progress {
  readonly text: string;
  readonly transferred: number;
  readonly bytes?: Uint8Array;
}

/** accept4(2). `accept` returns null when no connection is waiting. */
export function acceptOperation<T>(accept: () => T | null): SocketOperation<T> {
  return {
    method: "accepted()",
    syscall: "accept",
    direction: "read",
    progress: () => ({ text: "no connection arrived", transferred: 0 }),
    step: () => {
      try {
        const value = accept();
        return value === null ? "blocked" : { value };
      } catch (error) {
        // The peer reset this connection while it was in the queue. Try the next one.
        if (error instanceof SocketError && error.code === "ECONNABORTED") return "again";
        throw error;
      }
    },
  };
}

/** poll(2): waits until a call in this direction would not block. */
export function pollOperation(direction: "read" | "write"): SocketOperation<void> {
  const text = direction === "read" ? "nothing arrived" : "the send buffer stayed full";
  return {
    method: direction === "read" ? "readable()" : "writable()",
    syscall: "poll",
    direction,
    progress: () => ({ text, transferred: 0 }),
    isPoll: true,
    step: () => ({ value: undefined }),
  };
}

/** send(2) until all bytes are sent. `send` returns 0 when it would block. */
export function sendOperation(send: (bytes: Uint8Array) => number, bytes: Uint8Array): SocketOperation<void> {
  const { length } = checkBytes(bytes, "sendAll()");
  let transferred = 0;
  const progress = () => ({ text: `${transferred} of ${length} bytes were sent`, transferred });
  const step = (): Step<void> => {
    if (transferred === length) return { value: undefined };
    assertLength(bytes, length, "sendAll()");
    const count = send(bytes.subarray(transferred));
    transferred += count;
    if (transferred === length) return { value: undefined };
    return count === 0 ? "blocked" : "again";
  };
  return {
    method: "sendAll()",
    syscall: "send",
    direction: "write",
    progress,
    step: () => reportProgress(step, progress),
  };
}

/** recv(2) until the buffer, or a new one of this length, is full. `recv` returns null when it would block. */
export function receiveOperation(
  recv: (into: Uint8Array) => number | null,
  lengthOrInto: number | Uint8Array,
): SocketOperation<Uint8Array> {
  const into = typeof lengthOrInto === "number" ? allocate(lengthOrInto) : lengthOrInto;
  const { length } = checkBytes(into, "receiveExactly()");
  const startedAt = performance.now();
  let transferred = 0;
  const progress = () => ({
    text: `${transferred} of ${length} bytes arrived`,
    transferred,
    // Memory that the caller has detached or resized meanwhile has none of them any more, and subarray() would throw.
    bytes: into.length === length ? into.subarray(0, transferred) : new Uint8Array(0),
  });
  const step = (): Step<Uint8Array> => {
    if (transferred === length) return { value: into };
    assertLength(into, length, "receiveExactly()");
    const count = recv(into.subarray(transferred));
    if (count === null) return "blocked";
    if (count === 0) {
      throw waitError("ERR_END_OF_STREAM", operation, { elapsedMs: performance.now() - startedAt });
    }
    transferred += count;
    return transferred === length ? { value: into } : "again";
  };
  const operation: SocketOperation<Uint8Array> = {
    method: "receiveExactly()",
    syscall: "recv",
    direction: "read",
    progress,
    step: () => reportProgress(step, progress),
  };
  return operation;
}

/** Creates the WaitError of an operation that ended before it was done. */
export function waitError(
  code: WaitErrorCode,
  { method, syscall, progress }: SocketOperation<unknown>,
  context: Pick<WaitErrorContext, "elapsedMs" | "local" | "peer">,
): WaitError {
  const { text, ...rest } = progress();
  const why =
    code === "ERR_DEADLINE"
      ? `after ${Math.round(context.elapsedMs)} ms`
      : "before the peer ended the stream";
  return new WaitError(code, `${method}: ${text} ${why}`, { syscall, ...rest, ...context });
}

/**
 * Iterates over the values of `next`. The iteration ends when the socket that `next` waits for is closed, or with
 * return(), which also ends a wait; an abort of `limit` ends it as any other error of `next` does.
 */
export function iterate<T extends { reset(): void }>(
  next: (signal: AbortSignal) => Promise<T>,
  limit?: AbortSignal,
): AsyncIterableIterator<T> {
  const ending = new AbortController();
  const either = limit ? AbortSignal.any([ending.signal, limit]) : ending.signal;
  const done = { value: undefined, done: true } as const;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (ending.signal.aborted) return done;
      try {
        const value = await next(either);
        if (!ending.signal.aborted) return { value, done: false };
        value.reset(); // return() was called at the same moment, so that no caller receives it.
        return done;
      } catch (error) {
        const isOver = ending.signal.aborted || (error as { code?: string }).code === "ERR_SOCKET_CLOSED";
        ending.abort();
        if (isOver) return done;
        throw error;
      }
    },
    async return() {
      ending.abort();
      return done;
    },
  };
}

/** Adds to a SocketError how many bytes were transferred before it. */
function reportProgress<T>(step: () => Step<T>, progress: () => Progress): Step<T> {
  try {
    return step();
  } catch (error) {
    if (error instanceof SocketError) Object.assign(error, { transferred: progress().transferred });
    throw error;
  }
}

function allocate(length: number): Uint8Array {
  if (Number.isInteger(length) && length >= 0 && length <= LONGEST_BYTES) return new Uint8Array(length);
  const message = `length ${length} is not a count of bytes: use 0 to ${LONGEST_BYTES}`;
  throw invalidArgument("ERR_INVALID_LENGTH", message, RangeError);
}
