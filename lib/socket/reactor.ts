/** Waiting for a socket: tokens from the native epoll thread, and their callbacks; turns of the event loop. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Handle, Native } from "./native.ts";

/** How many tokens one wake-up carries; more come in the next. */
const TOKENS_PER_CALL = 1024;
/** A caller that awaits answers that are there already gets a turn of the event loop at least this often. */
const TURN_MS = 1;

interface Reactor {
  readonly callbacks: Map<number, () => void>;
  nextToken: number;
}

/** By the call that starts it: the addon has one for each environment, and a test's made-up kernel its own. */
const reactors = new WeakMap<Native["reactorStart"], Reactor>();

/**
 * epoll_ctl(2) for EPOLLOUT, once: calls `ready` when the connect on the socket has ended. Returns a function that
 * ends the watch, which must be called in any case; or -errno where the thread or the watch could not be started.
 */
export function watchWritable(native: Native, handle: Handle, ready: () => void): (() => void) | number {
  const reactor = startReactor(native);
  if (typeof reactor === "number") return reactor;
  const token = reactor.nextToken++;
  const answer = native.watch(handle, token);
  if (answer < 0) return answer;
  reactor.callbacks.set(token, ready);
  return () => {
    reactor.callbacks.delete(token);
    native.unwatch(handle);
  };
}

/** Starts the epoll thread at the first watch; -errno when there is no thread or descriptor for it. */
function startReactor(native: Native): Reactor | number {
  const known = reactors.get(native.reactorStart);
  if (known) return known;
  const reactor: Reactor = { callbacks: new Map(), nextToken: 1 };
  const tokens = new Float64Array(TOKENS_PER_CALL);
  const answer = native.reactorStart((count) => {
    // Waiting has failed for good: whoever waits looks for itself, and the next watch returns the errno.
    if (count < 0) for (const ready of [...reactor.callbacks.values()]) ready();
    // A token without a callback belongs to a watch that was ended while the token was on its way.
    for (let i = 0; i < count; i++) reactor.callbacks.get(tokens[i]!)?.();
  }, tokens);
  if (answer < 0) return answer;
  reactors.set(native.reactorStart, reactor);
  return reactor;
}

let turnedAt = 0;

/**
 * Gives timers and I/O their turn, at most once in a millisecond. Awaiting an answer that is there already does not
 * give one, so a loop of such awaits would keep everybody else waiting.
 */
export async function giveTurn(): Promise<void> {
  if (performance.now() - turnedAt <= TURN_MS) return;
  await nextTurn();
  turnedAt = performance.now();
}
