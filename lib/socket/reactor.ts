/** Waiting for a connect to end: tokens from the native epoll thread, matched with who waits for them. */
import type { Handle, Native } from "./native.ts";

/** How many tokens one wake-up carries; more come in the next. */
const TOKENS_PER_CALL = 1024;

interface Waiting {
  readonly waiters: Map<number, () => void>;
  nextToken: number;
}

const waitingByDoor = new WeakMap<Native, Waiting>();

/** One wait, from now until cancel(), which must be called in the end. */
export interface Watch {
  /** 0 or -errno: whether the wait began. */
  readonly answer: number;
  /** Calls back once, when the connect has ended. */
  ready(callback: () => void): void;
  cancel(): void;
}

/** epoll_ctl(2) for EPOLLOUT, once. */
export function writable(native: Native, handle: Handle): Watch {
  const waiting = waitingFor(native);
  if (typeof waiting === "number") return { answer: waiting, ready() {}, cancel() {} };
  const token = waiting.nextToken++;
  return {
    answer: native.watch(handle, token),
    ready: (callback) => waiting.waiters.set(token, callback),
    cancel: () => {
      waiting.waiters.delete(token);
      native.unwatch(handle);
    },
  };
}

/** Starts the epoll thread at the first wait; -errno when it cannot be had. */
function waitingFor(native: Native): Waiting | number {
  const known = waitingByDoor.get(native);
  if (known) return known;
  const waiting: Waiting = { waiters: new Map(), nextToken: 1 };
  const tokens = new Float64Array(TOKENS_PER_CALL);
  const answer = native.reactorStart((count) => {
    // A token without a waiter belongs to a wait that was cancelled while it was on its way.
    for (let i = 0; i < count; i++) waiting.waiters.get(tokens[i]!)?.();
  }, tokens);
  if (answer < 0) return answer;
  waitingByDoor.set(native, waiting);
  return waiting;
}
