/** Callers that wait for the same end, each with a deadline and a signal of its own, on one watch of the reactor. */
import { onAbort } from "./abort.ts";
import { threadError } from "./errors.ts";

interface Waiter {
  resolve(): void;
  reject(reason: unknown): void;
}

export interface WaitLimits {
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** What the wait rejects with at the deadline. */
  deadlineError(elapsedMs: number): Error;
}

export class SharedWait {
  readonly #waiters = new Set<Waiter>();
  readonly #startWatch: (ready: () => void) => (() => void) | number;
  readonly #isOver: () => boolean;
  #endWatch: (() => void) | null = null;

  /**
   * `startWatch` calls back once when there may be an answer, and returns a function that ends the watch, or -errno.
   * `isOver` then looks: it calls end() and returns true, or the wait goes on.
   */
  constructor(startWatch: (ready: () => void) => (() => void) | number, isOver: () => boolean) {
    this.#startWatch = startWatch;
    this.#isOver = isOver;
  }

  /** Resolves or rejects with end(); rejects on deadline and abort, for this caller alone. */
  async wait({ deadlineMs, signal, deadlineError }: WaitLimits): Promise<void> {
    const startedAt = performance.now();
    const { promise, ...waiter } = withResolvers();
    let timer: NodeJS.Timeout | undefined;
    if (deadlineMs !== undefined) {
      timer = setTimeout(() => waiter.reject(deadlineError(performance.now() - startedAt)), deadlineMs);
    }
    const forget = onAbort(signal, () => waiter.reject(signal?.reason));
    this.#waiters.add(waiter);
    try {
      this.#watch();
      await promise;
    } finally {
      clearTimeout(timer);
      forget();
      this.#waiters.delete(waiter);
      if (this.#waiters.size === 0) this.#unwatch();
    }
  }

  /** The end for all who wait: with an error or well. */
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
    const watch = this.#startWatch(() => this.#look());
    if (typeof watch === "number") throw threadError(watch, "epoll_ctl");
    this.#endWatch = watch;
  }

  #look(): void {
    this.#unwatch();
    try {
      if (!this.#isOver() && this.#waiters.size > 0) this.#watch();
    } catch (error) {
      this.end(error);
    }
  }

  #unwatch(): void {
    this.#endWatch?.();
    this.#endWatch = null;
  }
}

/** Promise.withResolvers(), which came with Node 22. */
function withResolvers(): Waiter & { promise: Promise<void> } {
  let resolve!: () => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
