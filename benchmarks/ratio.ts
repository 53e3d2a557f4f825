/** Ratios of paired rounds, and whether the rounds agree well enough to print one. */

import { summarize } from "../lib/index.ts";
import type { PairedRatio } from "../lib/report/index.ts";

const CONFIDENCE = 0.95;
/** The widest interval (high over low) for which a ratio is printed. */
const WIDEST = 1.25;

/**
 * The median of the rounds' ratios and its interval between order statistics: the number of rounds below the true
 * median is binomial with chance 1/2, whatever the noise is. With fewer than 6 rounds `confidence` is below 0.95.
 */
export function pairedRatio(rounds: readonly number[], peer: readonly number[]): PairedRatio | null {
  const count = Math.min(rounds.length, peer.length);
  const ratios = Array.from({ length: count }, (_, round) => rounds[round]! / peer[round]!).sort(
    (a, b) => a - b,
  );
  const summary = summarize(ratios);
  if (!summary) return null;
  const outside = roundsOutside(count);
  return {
    median: summary.median,
    low: ratios[outside]!,
    high: ratios[count - 1 - outside]!,
    confidence: 1 - 2 * chanceOfAtMost(outside, count),
    rounds: count,
  };
}

/** Whether the rounds agree well enough for a figure. */
export function agrees(ratio: PairedRatio): boolean {
  return ratio.high / ratio.low <= WIDEST;
}

/** How many of the sorted ratios may be left out at either end. */
function roundsOutside(count: number): number {
  let outside = 0;
  while (outside + 1 < count / 2 && 2 * chanceOfAtMost(outside + 1, count) <= 1 - CONFIDENCE) outside++;
  return outside;
}

/** The chance of at most `most` heads in `count` throws. */
function chanceOfAtMost(most: number, count: number): number {
  let term = 0.5 ** count;
  let sum = term;
  for (let heads = 1; heads <= most; heads++) {
    term *= (count - heads + 1) / heads;
    sum += term;
  }
  return sum;
}
