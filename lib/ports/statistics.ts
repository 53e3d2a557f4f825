/** Plain statistics over samples. */

export interface Summary {
  readonly min: number;
  readonly median: number;
  readonly mean: number;
  readonly p90: number;
  readonly max: number;
}

/** Of at least one sample; null of none. */
export function summarize(samples: readonly number[]): Summary | null {
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

/** Linear interpolation between order statistics (type 7 of Hyndman and Fan, 1996). */
export function quantile(sorted: readonly number[], fraction: number): number {
  const position = (sorted.length - 1) * fraction;
  const below = Math.floor(position);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (position - below);
}
