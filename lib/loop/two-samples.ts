/** Tests of two groups of samples or counts, and intervals of their difference. */
import type { TestResult } from "./statistics.ts";
import { kolmogorovTail, normalTail, quantile, seededRandom } from "./statistics.ts";

/** What differs between two groups, with the interval that holds it with a confidence of 95 %. */
export interface Effect {
  /** The second median by the first, or the second value less the first. */
  readonly kind: "ratio" | "difference";
  /** The ratio or difference of these samples; a difference is in their unit. */
  readonly value: number;
  /** The lower end of the interval. */
  readonly low: number;
  /** The upper end of the interval. */
  readonly high: number;
}

const RESAMPLES = 2000;
/** The normal quantile of a two-sided interval of 95 %. */
const Z = 1.959964;

/** The asymptotic two-sample Kolmogorov-Smirnov test (Press et al., Numerical Recipes, 14.3). */
export function kolmogorovTest(one: readonly number[], other: readonly number[]): TestResult {
  const [a, b] = [sorted(one), sorted(other)];
  const gaps = [...a, ...b].map((value) =>
    Math.abs(countUpTo(a, value) / a.length - countUpTo(b, value) / b.length),
  );
  const statistic = Math.max(...gaps);
  const size = Math.sqrt((a.length * b.length) / (a.length + b.length));
  return { statistic, p: kolmogorovTail((size + 0.12 + 0.11 / size) * statistic) };
}

/** The two-sided Mann-Whitney test, by the normal approximation; needs five samples. */
export function mannWhitneyTest(one: readonly number[], other: readonly number[]): TestResult {
  const [n, m] = [one.length, other.length];
  const all = sorted([...one, ...other]);
  const rankOf = (value: number) => (countUpTo(all, value, false) + 1 + countUpTo(all, value)) / 2;
  const ranks = one.reduce((sum, value) => sum + rankOf(value), 0);
  const statistic = ranks - (n * (n + 1)) / 2;
  const ties = new Map<number, number>();
  for (const value of all) ties.set(value, (ties.get(value) ?? 0) + 1);
  const tied = [...ties.values()].reduce((sum, times) => sum + times ** 3 - times, 0);
  const size = n + m;
  const variance = ((n * m) / 12) * (size + 1 - tied / (size * (size - 1)));
  if (!(variance > 0)) return { statistic, p: 1 };
  const distance = Math.max(0, Math.abs(statistic - (n * m) / 2) - 0.5);
  return { statistic, p: Math.min(1, 2 * normalTail(distance / Math.sqrt(variance))) };
}

/** The ratio or difference of the medians, the second to the first, with the percentile bootstrap's interval. */
export function compareMedians(
  kind: Effect["kind"],
  first: readonly number[],
  second: readonly number[],
): Effect {
  const [a, b] = [sorted(first), sorted(second)];
  const compute = (one: number, other: number) => (kind === "ratio" ? other / one : other - one);
  const random = seededRandom(a.length * 65_537 + b.length);
  const effects = Float64Array.from({ length: RESAMPLES }, () => {
    return compute(resampleMedian(a, random), resampleMedian(b, random));
  }).sort();
  const ends = [...effects];
  const value = compute(quantile([...a], 0.5), quantile([...b], 0.5));
  return { kind, value, low: quantile(ends, 0.025), high: quantile(ends, 0.975) };
}

/** The two-sided test of two shares, pooled, and the difference with Newcombe's interval (1998, method 10). */
export function compareShares(
  [first, firstOf]: readonly [number, number],
  [second, secondOf]: readonly [number, number],
): { test: TestResult; effect: Effect } {
  const [p1, p2] = [first / firstOf, second / secondOf];
  const pooled = (first + second) / (firstOf + secondOf);
  const error = Math.sqrt(pooled * (1 - pooled) * (1 / firstOf + 1 / secondOf));
  const statistic = error > 0 ? Math.abs(p2 - p1) / error : 0;
  const [one, other] = [wilson(first, firstOf), wilson(second, secondOf)];
  const low = p2 - p1 - Math.hypot(p2 - other.low, one.high - p1);
  const high = p2 - p1 + Math.hypot(other.high - p2, p1 - one.low);
  return {
    test: { statistic, p: Math.min(1, 2 * normalTail(statistic)) },
    effect: { kind: "difference", value: p2 - p1, low, high },
  };
}

/** Wilson's interval (1927) of a share, with a confidence of 95 %. */
export function wilson(count: number, of: number): { low: number; high: number } {
  const [share, square] = [count / of, Z ** 2];
  const middle = (share + square / (2 * of)) / (1 + square / of);
  const half = (Z / (1 + square / of)) * Math.sqrt((share * (1 - share)) / of + square / (4 * of ** 2));
  return { low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

function resampleMedian(values: Float64Array, random: () => number): number {
  const drawn = Float64Array.from(values, () => values[Math.floor(random() * values.length)]!).sort();
  const middle = drawn.length >> 1;
  return drawn.length % 2 === 1 ? drawn[middle]! : (drawn[middle - 1]! + drawn[middle]!) / 2;
}

function sorted(values: readonly number[]): Float64Array {
  return Float64Array.from(values).sort();
}

/** How many of the sorted values are at most the limit, or below it. */
function countUpTo(values: Float64Array, limit: number, isIncluded = true): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! < limit || (isIncluded && values[middle] === limit)) low = middle + 1;
    else high = middle;
  }
  return low;
}
