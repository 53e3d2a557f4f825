/** Describes a walk of local ports: the steps between them, and words for their pattern. */
import type { PortRange } from "../socket/port-range.ts";

/** Larger steps are sudden moves: the slot or the salt has changed. */
const LARGEST_STEP = 16;
const MOST_MOVES = 0.2;

/** The distance from each port to the next, across the end of the range. */
export function stepsOf(ports: readonly number[], range: PortRange): number[] {
  const size = range.high - range.low + 1;
  const round = size - (size % 2);
  return ports.slice(1).map((port, i) => (((port - ports[i]!) % round) + round) % round);
}

/** "always 2", "2 to 16, multiples of 2", "1 to 8", or "at random". */
export function stepWords(steps: readonly number[]): string {
  const small = steps.filter((step) => step > 0 && step <= LARGEST_STEP);
  if (small.length < steps.length * (1 - MOST_MOVES)) return "at random";
  const [least, most] = [Math.min(...small), Math.max(...small)];
  if (least === most) return `always ${least}`;
  const divisor = small.reduce(greatestCommonDivisor);
  return `${least} to ${most}${divisor > 1 ? `, multiples of ${divisor}` : ""}`;
}

/** Counts each step, and all sudden moves together. */
export function stepCounts(steps: readonly number[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const step of [...steps].sort((a, b) => a - b)) {
    const name = step > 0 && step <= LARGEST_STEP ? `step ${step}` : "sudden move";
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

export function isSuddenMove(step: number): boolean {
  return step <= 0 || step > LARGEST_STEP;
}

/** "low end's parity", "other parity" or "both parities". */
export function parityWords(ports: readonly number[], range: PortRange): string {
  const low = ports.filter((port) => (port - range.low) % 2 === 0).length;
  if (low === ports.length) return LOW_PARITY;
  return low === 0 ? OTHER_PARITY : BOTH_PARITIES;
}

export const LOW_PARITY = "low end's parity";
export const OTHER_PARITY = "other parity";
export const BOTH_PARITIES = "both parities";

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
