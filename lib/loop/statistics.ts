/** Statistics of samples: summaries, quantiles, tests, entropy. */

import { checkArray, invalidArgument, textOf } from "../socket/misuse.ts";

/** The least, the middle and the greatest of some samples, in their unit. */
export interface Summary {
  /** The least value. */
  readonly min: number;
  /** Half of the values are at most this. */
  readonly median: number;
  /** The arithmetic mean. */
  readonly mean: number;
  /** Nine tenths of the values are at most this. */
  readonly p90: number;
  /** The greatest value. */
  readonly max: number;
}

/** Summarizes samples; null when there are no samples. */
export function summarize(samples: readonly number[]): Summary | null {
  const what = "summarize() takes an array of numbers";
  checkArray(what, samples);
  const wrong = samples.findIndex((sample) => typeof sample !== "number");
  if (wrong >= 0) throw invalidArgument("ERR_INVALID_ARGUMENT", `${what}: ${textOf(samples[wrong])} is none`);
  if (samples.length === 0) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  return {
    min: sorted[0]!,
    median: quantile(sorted, 0.5),
    mean: sorted.reduce((sum, sample) => sum + sample, 0) / sorted.length,
    p90: quantile(sorted, 0.9),
    max: sorted.at(-1)!,
  };
}

/** How far samples are from one another, in their unit. */
export interface Spread {
  /** The sample's standard deviation. */
  readonly deviation: number;
  readonly p99: number;
  /** The interval that holds the mean with a confidence of 95 %: the percentile bootstrap (Efron, 1979). */
  readonly meanLow: number;
  readonly meanHigh: number;
  /** The indexes of samples beyond three interquartile ranges from the quartiles (Tukey's far out). */
  readonly outliers: readonly number[];
}

const RESAMPLES = 2000;
const CONFIDENCE = 0.95;
/** With fewer samples neither quartiles nor an interval mean much. */
const FEWEST_SPREAD = 5;

/** Computes the spread of samples; null for fewer than five. Equal samples give an equal result. */
export function spreadOf(samples: readonly number[]): Spread | null {
  const size = samples.length;
  if (size < FEWEST_SPREAD) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  const mean = sorted.reduce((sum, sample) => sum + sample, 0) / size;
  const squares = sorted.reduce((sum, sample) => sum + (sample - mean) ** 2, 0);
  const random = seededRandom(size);
  const means = Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    for (let drawn = 0; drawn < size; drawn++) sum += sorted[Math.floor(random() * size)]!;
    return sum / size;
  }).sort((a, b) => a - b);
  const [low, high] = [quantile(sorted, 0.25), quantile(sorted, 0.75)];
  const isFar = (sample: number) => sample > high + 3 * (high - low) || sample < low - 3 * (high - low);
  return {
    deviation: Math.sqrt(squares / (size - 1)),
    p99: quantile(sorted, 0.99),
    meanLow: quantile(means, 0.025),
    meanHigh: quantile(means, 0.975),
    outliers: samples.flatMap((sample, index) => (isFar(sample) ? [index] : [])),
  };
}

/**
 * The interval that holds the true median with a confidence of 95 %, whatever the distribution: the number of samples
 * below it is binomial with chance 1/2. With fewer than six samples it reaches from the least to the greatest, and its
 * confidence is lower.
 */
export function medianInterval(samples: readonly number[]): { readonly low: number; readonly high: number } {
  const sorted = [...samples].sort((a, b) => a - b);
  let outside = 0;
  let chance = 0.5 ** sorted.length;
  let tail = chance;
  while (outside + 1 < sorted.length / 2) {
    chance *= (sorted.length - outside) / (outside + 1);
    tail += chance;
    if (2 * tail > 1 - CONFIDENCE) break;
    outside++;
  }
  return { low: sorted[outside]!, high: sorted.at(-1 - outside)! };
}

/** Linear interpolation between order statistics (type 7 of Hyndman and Fan, 1996). */
export function quantile(sorted: readonly number[], fraction: number): number {
  const position = (sorted.length - 1) * fraction;
  const below = Math.floor(position);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (position - below);
}

/** A test's statistic, and the chance of one as large or larger if the hypothesis holds. */
export interface TestResult {
  /** The statistic of the test: the greater, the worse the samples fit. */
  readonly statistic: number;
  /** The probability of samples that fit as badly or worse when the model is right, 0 to 1. */
  readonly p: number;
}

/**
 * The Kolmogorov-Smirnov test of samples against a distribution; p by Stephens' approximation (1970), good from about
 * ten samples.
 */
export function goodnessOfFit(samples: readonly number[], cdf: (value: number) => number): TestResult {
  const sorted = [...samples].sort((a, b) => a - b);
  const n = sorted.length;
  let distance = 0;
  sorted.forEach((sample, index) => {
    const predicted = cdf(sample);
    distance = Math.max(distance, predicted - index / n, (index + 1) / n - predicted);
  });
  const scaled = (Math.sqrt(n) + 0.12 + 0.11 / Math.sqrt(n)) * distance;
  return { statistic: distance, p: kolmogorovTail(scaled) };
}

/** The chance that Kolmogorov's distribution exceeds a value. */
export function kolmogorovTail(value: number): number {
  if (value < 0.2) return 1; // The result is 1 to 12 places, and the alternating series would need many terms.
  let sum = 0;
  for (let term = 1; term <= 100; term++) {
    sum += (term % 2 === 1 ? 2 : -2) * Math.exp(-2 * term * term * value * value);
  }
  return Math.min(1, Math.max(0, sum));
}

/** Pearson's chi-squared test of counts against expected counts; pools cells until five are expected. */
export function chiSquared(counts: readonly number[], expected: readonly number[]): TestResult {
  let statistic = 0;
  let cells = 0;
  let [pooled, pooledExpected] = [0, 0];
  counts.forEach((count, index) => {
    pooled += count;
    pooledExpected += expected[index]!;
    if (pooledExpected < 5) return;
    statistic += (pooled - pooledExpected) ** 2 / pooledExpected;
    cells++;
    [pooled, pooledExpected] = [0, 0];
  });
  return { statistic, p: chiSquaredTail(statistic, cells - 1) };
}

/** Wilson and Hilferty's cube-root approximation (1931). */
function chiSquaredTail(statistic: number, freedom: number): number {
  if (freedom < 1) return 1;
  const spread = 2 / (9 * freedom);
  return normalTail((Math.cbrt(statistic / freedom) - (1 - spread)) / Math.sqrt(spread));
}

/** The chance that a standard normal exceeds a value: Abramowitz and Stegun 26.2.17, to 7.5e-8. */
export function normalTail(value: number): number {
  if (value < 0) return 1 - normalTail(-value);
  const t = 1 / (1 + 0.2316419 * value);
  const polynomial =
    t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-value * value) / 2) / Math.sqrt(2 * Math.PI)) * polynomial;
}

/** Shannon's entropy of counts, in bits, with Miller and Madow's correction (1955) for unseen values. */
export function entropyBits(counts: Iterable<number>): number {
  let [total, cells, sum] = [0, 0, 0];
  for (const count of counts) {
    total += count;
    cells++;
    sum += count * Math.log2(count);
  }
  return total === 0 ? 0 : Math.log2(total) - sum / total + (cells - 1) / (2 * total * Math.LN2);
}

/** Returns a generator of numbers in [0, 1), equal for equal seeds: mulberry32, by Tommy Ettinger. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
