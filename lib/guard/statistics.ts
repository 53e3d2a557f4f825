/** Counts how guarded connects ended: for metrics, and for those who ask whether the guard ever acted. */

/** How the guarded connects of this thread have ended since its start. */
export interface GuardStatistics {
  /** connect(2) succeeded, and not to itself. */
  readonly connected: number;
  /** connect(2) failed with an errno. */
  readonly failed: number;
  /** Self-connects that were reset: connect(2) had joined the socket to itself. */
  readonly reset: number;
  /** Self-connects that were refused without a connect(2), because the local port was fixed to the peer's. */
  readonly refused: number;
}

/** The same for every copy of this package in a thread: the preload is a build of its own. */
const KEY = Symbol.for("selfconnect.statistics");

type Counters = { -readonly [Name in keyof GuardStatistics]: number };

const shared = globalThis as { [KEY]?: Counters };
shared[KEY] ??= { connected: 0, failed: 0, reset: 0, refused: 0 };
const counters = shared[KEY];

/** Counts one connect. */
export function count(how: keyof GuardStatistics): void {
  counters[how]++;
}

/**
 * The counts of every guarded connect(2) of this thread since its start: of dial(), connect() and each other way in,
 * and of the whole program under selfconnect/register. Returns a copy. A worker thread has counts of its own.
 */
export function guardStatistics(): GuardStatistics {
  return { ...counters };
}
