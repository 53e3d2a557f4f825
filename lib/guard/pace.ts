/** How many connects are due at a pace. */
import { LONGEST_WAIT_MS } from "../socket/misuse.ts";

/** After a stall of the event loop, what was due in this time is made up for; the rest is not. */
const MOST_DEBT_MS = 50;

/** A slower pace has no second connect either; above it, sums of times would be Infinity and then NaN. */
const LONGEST_INTERVAL_MS = Number.MAX_SAFE_INTEGER;

/** A pace of so many in a second; Infinity is no pace. The first is due at once. */
export class Pace {
  readonly #intervalMs: number;
  /** When the next one is due. */
  #dueAt = performance.now();

  constructor(perSecond: number) {
    this.#intervalMs = Math.min(1000 / perSecond, LONGEST_INTERVAL_MS);
  }

  /** How many are due now. */
  due(): number {
    if (this.#intervalMs === 0) return Infinity;
    const now = performance.now();
    this.#dueAt = Math.max(this.#dueAt, now - MOST_DEBT_MS);
    return Math.max(0, Math.floor((now - this.#dueAt) / this.#intervalMs) + 1);
  }

  /** Takes `count` of them. */
  take(count: number): void {
    this.#dueAt += count * this.#intervalMs;
  }

  /** Milliseconds until the next one is due, at least 1 and at most what a timer can wait. */
  waitMs(): number {
    return Math.min(LONGEST_WAIT_MS, Math.max(1, Math.ceil(this.#dueAt - performance.now())));
  }
}
