/** Attempts and time until a self-connect, by strategy, cold and chained: written to a finding's counts, and read. */
import type { Summary } from "../loop/statistics.ts";
import { medianInterval, summarize } from "../loop/statistics.ts";
import type { Strategy } from "../socket/strategy.ts";
import { STRATEGIES } from "../socket/strategy.ts";

/** Where a trial starts: at a port of its own, or at the port on which the trial before it has ended. */
export type WaitStart = "cold" | "chained";
export const WAIT_STARTS: readonly WaitStart[] = ["cold", "chained"];

/** A median and the interval that holds the true one with 95 % confidence. */
export interface Middle {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** The trials of one strategy from one start. */
export interface Waits {
  readonly strategy: Strategy;
  readonly start: WaitStart;
  readonly trials: number;
  /** How many trials ended joined to themselves. */
  readonly joined: number;
  /** Null unless every trial ended so: the middle of the others alone would be too low. */
  readonly attempts: Middle | null;
  readonly ms: Middle | null;
}

/** What the trials of one strategy from one start took. */
export interface MeasuredTrials {
  readonly trials: number;
  readonly attempts: readonly number[];
  readonly ms: readonly number[];
}

/** The counts of a finding: "fresh cold attempts", "fresh cold attempts low" … */
export function countWaits(
  strategy: Strategy,
  start: WaitStart,
  { trials, attempts, ms }: MeasuredTrials,
): Record<string, number> {
  const name = `${strategy} ${start}`;
  const isWhole = attempts.length === trials;
  return {
    [`${name} trials`]: trials,
    [`${name} joined`]: attempts.length,
    ...(isWhole && { ...countMiddle(`${name} attempts`, attempts), ...countMiddle(`${name} ms`, ms) }),
  };
}

function countMiddle(name: string, samples: readonly number[]): Record<string, number> {
  const summary: Summary | null = summarize(samples);
  if (!summary) return {};
  const { low, high } = medianInterval(samples);
  const rounded = (value: number) => Number(value.toFixed(3));
  return {
    [name]: rounded(summary.median),
    [`${name} low`]: rounded(low),
    [`${name} high`]: rounded(high),
  };
}

/** Reads the counts of countWaits(). Strategies that were not asked are left out. */
export function readWaits(counts: Readonly<Record<string, number>>): Waits[] {
  return STRATEGIES.flatMap((strategy) => WAIT_STARTS.map((start) => ({ strategy, start }))).flatMap(
    ({ strategy, start }) => {
      const name = `${strategy} ${start}`;
      const [trials, joined] = [counts[`${name} trials`], counts[`${name} joined`]];
      if (trials === undefined || joined === undefined) return [];
      const [attempts, ms] = [readMiddle(counts, `${name} attempts`), readMiddle(counts, `${name} ms`)];
      return [{ strategy, start, trials, joined, attempts, ms }];
    },
  );
}

function readMiddle(counts: Readonly<Record<string, number>>, name: string): Middle | null {
  const [median, low, high] = [counts[name], counts[`${name} low`], counts[`${name} high`]];
  if (median === undefined || low === undefined || high === undefined) return null;
  return { median, low, high };
}
