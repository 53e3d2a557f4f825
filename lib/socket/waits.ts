/** The calls that wait for one socket. Their operations are tried again at each change that the reactor reports. */
import { onAbort } from "./abort.ts";
import { threadError } from "./errors.ts";
import type { WaitLimits } from "./limits.ts";
import type { Flag, Handle, Native } from "./native.ts";
import { watchSocket } from "./reactor.ts";

/** Operations of one queue run for at most this long before they yield to timers and I/O. */
const TURN_MS = 1;

const DIRECTIONS = ["read", "write"] as const;
type Direction = (typeof DIRECTIONS)[number];

/** The result of one step: the value, or would block, or a part is done and the next step may follow at once. */
export type Step<T> = { readonly value: T } | "blocked" | "again";

/** One or more system calls to make on a socket as soon as they do not block. */
export interface Operation<T> {
  readonly direction: Direction;
  readonly syscall: string;
  /** Makes one system call. Throws its error. */
  readonly step: () => Step<T>;
  /** Whether it waits until a call would not block, and makes none. Its one step ends it. */
  readonly isPoll?: boolean;
}

interface Waiter {
  readonly direction: Direction;
  /** Makes the next step of its operation. */
  readonly act: () => "ended" | "blocked" | "again";
  readonly reject: (reason: unknown) => void;
  removeLimits: () => void;
}

/** The waiting calls of one direction, in order. */
interface Queue {
  /** Only the first one makes system calls: bytes of two calls never mix, and connections are returned in order. */
  readonly actors: Set<Waiter>;
  /** Calls that wait for readiness only. All of them end together. */
  readonly pollers: Set<Waiter>;
}

/** The waits of one socket. One watch of the reactor serves both directions. */
export class SocketWaits {
  readonly #native: Native;
  readonly #handle: Handle;
  readonly #queues: Readonly<Record<Direction, Queue>> = {
    read: { actors: new Set(), pollers: new Set() },
    write: { actors: new Set(), pollers: new Set() },
  };
  #watch: { readonly read: Flag; readonly write: Flag; readonly end: () => void } | null = null;

  constructor(native: Native, handle: Handle) {
    this.#native = native;
    this.#handle = handle;
  }

  /**
   * Performs the operation now, or as soon as it does not block and those called before it have ended. At the deadline
   * it rejects with what `deadlineError` returns, at an abort with the signal's reason.
   */
  perform<T>(
    operation: Operation<T>,
    limits: WaitLimits,
    deadlineError: (elapsedMs: number) => Error,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const { direction, isPoll } = operation;
      const act = () => this.#step(operation, waiter, resolve);
      const waiter: Waiter = { direction, act, reject, removeLimits: () => {} };
      const queue = this.#queues[direction];
      const set = isPoll ? queue.pollers : queue.actors;
      set.add(waiter);
      if (isPoll) this.#poll(direction);
      else if (set.size === 1) this.#act(direction);
      if (!set.has(waiter)) return;
      this.#limit(waiter, limits, deadlineError);
      this.#updateWatch();
    });
  }

  /** Rejects every wait with the error. */
  end(error: unknown): void {
    for (const direction of DIRECTIONS) {
      const { actors, pollers } = this.#queues[direction];
      for (const waiter of [...actors, ...pollers]) this.#settle(waiter, () => waiter.reject(error));
    }
    this.#updateWatch();
  }

  #limit(waiter: Waiter, limits: WaitLimits, deadlineError: (elapsedMs: number) => Error): void {
    const { deadlineMs, signal } = limits;
    const startedAt = performance.now();
    const abandon = (reason: () => unknown) => {
      this.#settle(waiter, () => waiter.reject(reason()));
      // It may have been the first of its queue, which the next ones waited for.
      this.#act(waiter.direction);
      this.#updateWatch();
    };
    const expire = () => abandon(() => deadlineError(performance.now() - startedAt));
    const timer = deadlineMs === undefined ? undefined : setTimeout(expire, deadlineMs);
    const removeAbort = onAbort(signal, () => abandon(() => signal?.reason));
    waiter.removeLimits = () => {
      clearTimeout(timer);
      removeAbort();
    };
  }

  #settle(waiter: Waiter, settle: () => void): void {
    const { actors, pollers } = this.#queues[waiter.direction];
    waiter.removeLimits();
    actors.delete(waiter);
    pollers.delete(waiter);
    settle();
  }

  #onReady(result: number): void {
    for (const direction of DIRECTIONS) {
      this.#poll(direction);
      this.#act(direction);
    }
    if (result < 0) this.end(threadError(result, "epoll_wait"));
    else this.#updateWatch();
  }

  /** Resolves the pollers of a direction when a call would not block. */
  #poll(direction: Direction): void {
    const { pollers } = this.#queues[direction];
    if (pollers.size === 0) return;
    const { read, write } = flagsOf(direction);
    // -EBADF ends the wait too: the next call reports it.
    if (this.#native.poll(this.#handle, read, write) === 0) return;
    for (const waiter of [...pollers]) waiter.act();
  }

  /** Performs the actors of a direction in order until one blocks or TURN_MS have passed. */
  #act(direction: Direction): void {
    const { actors } = this.#queues[direction];
    const endsAt = performance.now() + TURN_MS;
    for (const waiter of actors) {
      for (;;) {
        const step = waiter.act();
        if (step === "blocked") return;
        if (step === "ended") break;
        if (performance.now() > endsAt) {
          this.#actLater(direction);
          return;
        }
      }
    }
  }

  /** Continues in the next turn of the event loop. The watch reports changes only, and there may be no further one. */
  #actLater(direction: Direction): void {
    setImmediate(() => {
      this.#act(direction);
      this.#updateWatch();
    });
  }

  #step<T>(
    operation: Operation<T>,
    waiter: Waiter,
    resolve: (value: T) => void,
  ): "ended" | "blocked" | "again" {
    try {
      const step = operation.step();
      if (typeof step === "string") return step;
      this.#settle(waiter, () => resolve(step.value));
    } catch (error) {
      this.#settle(waiter, () => waiter.reject(error));
    }
    return "ended";
  }

  /** Watches the directions that have waiting calls. A watch keeps the event loop alive. */
  #updateWatch(): void {
    const isWaiting = ({ actors, pollers }: Queue): Flag => (actors.size + pollers.size > 0 ? 1 : 0);
    const read = isWaiting(this.#queues.read);
    const write = isWaiting(this.#queues.write);
    if (read === (this.#watch?.read ?? 0) && write === (this.#watch?.write ?? 0)) return;
    this.#watch?.end();
    this.#watch = null;
    if (read + write === 0) return;
    const end = watchSocket(this.#native, this.#handle, { read, write }, (result) => this.#onReady(result));
    if (typeof end === "number") this.end(threadError(end, "epoll_ctl"));
    else this.#watch = { read, write, end };
  }
}

function flagsOf(direction: Direction): { read: Flag; write: Flag } {
  return { read: direction === "read" ? 1 : 0, write: direction === "write" ? 1 : 0 };
}
