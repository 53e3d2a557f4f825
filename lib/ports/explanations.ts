/** What may explain a sequence of local ports: the algorithms, and other mechanisms that look like them. Pure. */
import type { AlgorithmName, PortAlgorithm } from "./algorithms.ts";
import { PORT_ALGORITHMS } from "./algorithms.ts";
import { LONGEST_COUNTED } from "./picks.ts";

/** One hypothesis about how ports are picked. */
export interface Explanation extends Pick<PortAlgorithm, "increments" | "stride" | "counters" | "saltMs"> {
  /** The row of the table of algorithms; null for a mechanism that has no row, which is never named. */
  readonly algorithm: PortAlgorithm | null;
  /** The name of the algorithm, or what the mechanism is. */
  readonly label: AlgorithmName | string;
  /** The fewest peers, in turn, that distinguish it. */
  readonly peers: number;
  /** The fewest attempts to a peer, after others to other peers, that show whose counter it is. */
  readonly returns: number;
}

/**
 * A counter for each peer that happens to be the same one looks like one counter with offsets. Such tables have 10
 * counters (RFC 6056 section 3.3.4) or 256 (Linux).
 */
const FEWEST_PEERS: Partial<Record<AlgorithmName, number>> = { "hash-based": 4, "linux-4.6": 3 };

/** No other counters have these steps, or there is no counter, or one without offsets. */
const SHOWN_BY_STEPS: readonly AlgorithmName[] = [
  "linux-5.18",
  "linux-bind",
  "simple-random",
  "sequential",
  "random-increments",
];
const FEWEST_RETURNS = 50;

/** RFC 6056 section 3.3.5 leaves N to the system. */
const OTHER_INCREMENTS = [2, 4, 8, 16, 32, 64, 128, 256, 1000];

/** The rows of the table, and what has none. A row is named only if it explains the ports better than all others. */
export const EXPLANATIONS: readonly Explanation[] = [
  ...PORT_ALGORITHMS.map((algorithm) => ({
    ...algorithm,
    algorithm,
    label: algorithm.name,
    peers: FEWEST_PEERS[algorithm.name] ?? 1,
    returns: SHOWN_BY_STEPS.includes(algorithm.name) ? 0 : FEWEST_RETURNS,
  })),
  ...OTHER_INCREMENTS.map((n) => {
    const algorithm = PORT_ALGORITHMS.find(({ name }) => name === "random-increments")!;
    const increments = new Array<number>(n).fill(1 / n);
    return { ...algorithm, algorithm, increments, label: algorithm.name, peers: 1, returns: 0 };
  }),
  // Linux 5.10.119 to 5.10.124.
  makeUnnamed("exact steps of 2 with a counter for each peer", [1], 2, "many"),
  // Linux 4.6 to 5.11 where one port in 16 is in use.
  makeUnnamed("steps of 2 and 4 with one counter", [15 / 16, 1 / 16], 2, "one-with-offsets"),
  // With 8 it is what Linux does with a range.
  ...[...OTHER_INCREMENTS, 500]
    .filter((n) => n !== 8)
    .map((n) =>
      makeUnnamed("random increments with a counter for each peer", new Array(n).fill(1 / n), 1, "many"),
    ),
];

function makeUnnamed(
  label: string,
  increments: readonly number[],
  stride: 1 | 2,
  counters: Explanation["counters"],
): Explanation {
  return { algorithm: null, label, increments, stride, counters, saltMs: null, peers: 1, returns: 0 };
}

/** The longest series of lost picks that a step may hide. */
const MOST_LOST = 16;
const unfolded = new WeakMap<readonly number[], Map<string, Float64Array>>();
const powers = new WeakMap<readonly number[], Float64Array[]>();

/**
 * The probability of each step over `gap` picks of one counter, of which any number more were not captured: each with
 * the probability `loss`. Folded into a range of `size` ports.
 */
export function stepChances(explanation: Explanation, gap: number, loss: number, size: number): Float64Array {
  if (size < LONGEST_COUNTED) return computeChances(explanation, gap, loss, size);
  // In a large range nothing is folded, so that all hosts have the same.
  const key = `${explanation.stride} ${gap} ${loss}`;
  let known = unfolded.get(explanation.increments);
  if (!known) {
    known = new Map();
    unfolded.set(explanation.increments, known);
  }
  const chances = known.get(key) ?? computeChances(explanation, gap, loss, size);
  known.set(key, chances);
  return chances;
}

function computeChances(
  { increments, stride }: Explanation,
  gap: number,
  loss: number,
  size: number,
): Float64Array {
  const chances = new Float64Array(LONGEST_COUNTED + 1);
  const longest = Math.floor(LONGEST_COUNTED / stride);
  let weight = (1 - loss) ** gap;
  for (let lost = 0; lost <= (loss > 0 ? MOST_LOST : 0); lost++) {
    const power = powerOf(increments, gap + lost);
    const end = Math.min(longest, (gap + lost) * increments.length);
    for (let strides = gap + lost; strides <= end; strides++) {
      const step = ((strides * stride - 1) % size) + 1;
      chances[step]! += weight * power[strides]!;
    }
    weight *= (loss * (gap + lost)) / (lost + 1);
  }
  return chances;
}

/** The probabilities of 0, 1, 2 … strides after so many turns of a counter. */
function powerOf(increments: readonly number[], turns: number): Float64Array {
  let known = powers.get(increments);
  if (!known) {
    known = [Float64Array.of(1, ...new Array<number>(LONGEST_COUNTED).fill(0))];
    powers.set(increments, known);
  }
  while (known.length <= turns) known.push(advance(known.at(-1)!, increments));
  return known[turns]!;
}

/** The distribution after one more turn. */
function advance(before: Float64Array, increments: readonly number[]): Float64Array {
  const after = new Float64Array(before.length);
  const isUniform = increments.every((chance) => chance === increments[0]);
  let sum = 0;
  for (let strides = 1; strides < after.length; strides++) {
    if (isUniform) {
      // The sum of the last N probabilities; it is kept from adding up rounding errors below zero.
      sum = Math.max(0, sum + before[strides - 1]! - (before[strides - 1 - increments.length] ?? 0));
      after[strides] = sum < 1e-15 ? 0 : sum * increments[0]!;
      continue;
    }
    for (let increment = 1; increment <= increments.length; increment++) {
      after[strides]! += (before[strides - increment] ?? 0) * increments[increment - 1]!;
    }
  }
  return after;
}
