/** Waits for sockets: maps tokens from the native epoll thread to callbacks. Yields to the event loop. */
import { subscribe } from "node:diagnostics_channel";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Flag, Handle, Native } from "./native.ts";

/** The most tokens that one wake-up passes; the next wake-up passes the rest. */
const TOKENS_PER_CALL = 1024;
/** A caller that only awaits promises that have settled yields to the event loop at least this often. */
const YIELD_MS = 1;

/** Called with 0 when a socket may be ready, with -errno when the reactor cannot wait any more. */
export type Ready = (result: number) => void;

interface Reactor {
  readonly callbacks: Map<number, Ready>;
  nextToken: number;
}

/** One reactor for each addon's `reactorStart`: the real addon has one per environment, a test's stand-in another. */
const reactors = new WeakMap<Native["reactorStart"], Reactor>();

/** epoll_ctl(2) for EPOLLOUT: see watchSocket(). `ready` is called when the connect on the socket has ended. */
export function watchWritable(native: Native, handle: Handle, ready: Ready): (() => void) | number {
  return watchSocket(native, handle, { read: 0, write: 1 }, ready);
}

/**
 * epoll_ctl(2) with EPOLLET: calls `ready` when the socket may be ready in one of the directions, and at each change
 * after that. Returns a function that ends the watch, which the caller must call in any case; or -errno when the thread
 * or the watch could not start. A socket has one watch at a time.
 */
export function watchSocket(
  native: Native,
  handle: Handle,
  { read, write }: { readonly read: Flag; readonly write: Flag },
  ready: Ready,
): (() => void) | number {
  const reactor = startReactor(native);
  if (typeof reactor === "number") return reactor;
  const token = reactor.nextToken++;
  const result = native.watch(handle, token, read, write);
  if (result < 0) return result;
  reactor.callbacks.set(token, ready);
  return () => {
    reactor.callbacks.delete(token);
    native.unwatch(handle);
  };
}

/** Starts the epoll thread at the first watch. Returns -errno when no thread or descriptor can be created. */
function startReactor(native: Native): Reactor | number {
  const known = reactors.get(native.reactorStart);
  if (known) return known;
  const reactor: Reactor = { callbacks: new Map(), nextToken: 1 };
  const tokens = new Float64Array(TOKENS_PER_CALL);
  const result = native.reactorStart((count) => {
    // Waiting failed for good: each waiter checks its own socket, and its next watch returns the errno.
    if (count < 0) for (const ready of [...reactor.callbacks.values()]) ready(count);
    // A token without a callback belongs to a watch that was ended while the token was on its way.
    for (let i = 0; i < count; i++) reactor.callbacks.get(tokens[i]!)?.(0);
  }, tokens);
  if (result < 0) return result;
  reactors.set(native.reactorStart, reactor);
  return reactor;
}

interface Turns {
  /** When the last one was taken. */
  yieldedAt: number;
  /** Whether the last one accepted a connection. */
  isAccepting: boolean;
  /** How many connections the servers of this thread have accepted; null until they are counted. */
  accepted: number | null;
}

/** The turns of the event loop that this thread has taken. */
const turns: Turns = { yieldedAt: 0, isAccepting: false, accepted: null };

/**
 * Yields to timers and I/O, at most once in a millisecond. Awaiting a settled promise does not yield to them, so a loop
 * of such awaits would block everything else. While a server of this thread accepts connections, every call yields:
 * libuv accepts one in a turn, and where its queue overflows a connect waits a second. Returns undefined when no turn
 * is due.
 */
export function yieldToLoop(): Promise<void> | undefined {
  return turns.isAccepting || performance.now() - turns.yieldedAt > YIELD_MS ? takeTurn() : undefined;
}

async function takeTurn(): Promise<void> {
  if (turns.accepted === null) countAccepted();
  const before = turns.accepted;
  await nextTurn();
  turns.isAccepting = turns.accepted !== before;
  turns.yieldedAt = performance.now();
}

function countAccepted(): void {
  let accepted = 0;
  turns.accepted = accepted;
  subscribe("net.server.socket", () => {
    turns.accepted = ++accepted;
  });
}
