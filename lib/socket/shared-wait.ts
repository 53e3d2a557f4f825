/** Lets many callers wait for one event, each with a separate deadline and signal, on one watch of the reactor. */
import { onAbort } from "./abort.ts";
import { threadError } from "./errors.ts";
import type { WaitLimits } from "./limits.ts";
import type { Ready } from "./reactor.ts";

interface Waiter {
  resolve(): void;
  reject(reason: unknown): void;
}

export interface SharedWaitLimits extends WaitLimits {
  /** Creates the error with which the wait rejects at the deadline. */
  deadlineError(elapsedMs: number): Error;
}

export class SharedWait {
  readonly #waiters = new Set<Waiter>();
  readonly #startWatch: (ready: Ready) => (() => void) | number;
  readonly #isOver: () => boolean;
  #endWatch: (() => void) | null = null;

  /**
   * `startWatch` starts a watch that calls `ready` at each change after which the event may have happened; it returns a
   * function that ends the watch, or -errno. `isOver` then checks: when the event has happened, it calls end() and
   * returns true.
   */
  constructor(startWatch: (ready: Ready) => (() => void) | number, isOver: () => boolean) {
    this.#startWatch = startWatch;
    this.#isOver = isOver;
  }

  /** Resolves or rejects when end() is called; a deadline or an abort rejects for this caller alone. */
  async wait({ deadlineMs, signal, deadlineError }: SharedWaitLimits): Promise<void> {
    const startedAt = performance.now();
    const { promise, ...waiter } = withResolvers();
    let timer: NodeJS.Timeout | undefined;
    if (deadlineMs !== undefined) {
      timer = setTimeout(() => waiter.reject(deadlineError(performance.now() - startedAt)), deadlineMs);
    }
    const removeAbort = onAbort(signal, () => waiter.reject(signal?.reason));
    this.#waiters.add(waiter);
    try {
      this.#watch();
      await promise;
    } finally {
      clearTimeout(timer);
      removeAbort();
      this.#waiters.delete(waiter);
      if (this.#waiters.size === 0) this.#unwatch();
    }
  }

  /** Rejects all waits with the error, or resolves them when there is none. */
  end(error?: unknown): void {
    this.#unwatch();
    for (const waiter of this.#waiters) {
      if (error === undefined) waiter.resolve();
      else waiter.reject(error);
    }
    this.#waiters.clear();
  }

  #watch(): void {
    if (this.#endWatch) return;
    const watch = this.#startWatch((result) => this.#check(result));
    if (typeof watch === "number") throw threadError(watch, "epoll_ctl");
    this.#endWatch = watch;
  }

  /** The watch goes on until the end: a new one would report at once what this one has reported, again and again. */
  #check(result: number): void {
    try {
      if (!this.#isOver() && result < 0) this.end(threadError(result, "epoll_wait"));
    } catch (error) {
      this.end(error);
    }
  }

  #unwatch(): void {
    this.#endWatch?.();
    this.#endWatch = null;
  }
}

/** Promise.withResolvers() for Node 20, which does not have it. */
function withResolvers(): Waiter & { promise: Promise<void> } {
  let resolve!: () => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
