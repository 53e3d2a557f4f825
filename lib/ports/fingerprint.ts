/** Names the algorithm that picked a sequence of local ports. Pure. */

import { chiSquared, entropyBits, quantile } from "../loop/statistics.ts";
import type { AlgorithmName, PortAlgorithm } from "./algorithms.ts";
import { PORT_ALGORITHMS } from "./algorithms.ts";
import type { NamespacePicks } from "./namespace.ts";
import type { Observation } from "./sample.ts";

/** Statistics of a sequence of local ports, and the algorithm that explains it. */
export interface Fingerprint {
  readonly attempts: number;
  readonly low: number;
  readonly high: number;
  readonly parity: { readonly even: number; readonly odd: number };
  /** Steps from a port to the next one, the most frequent first; without wraps and jumps. */
  readonly steps: readonly { readonly step: number; readonly count: number }[];
  /** How often the walk reached the high end and continued at the low end. */
  readonly laps: number;
  /** The highest port before such a wrap and the lowest after one. */
  readonly wrap: { readonly from: number; readonly to: number } | null;
  /** Steps that are neither: a new salt moved the walk, or there is no walk. */
  readonly jumps: { readonly count: number; readonly everyMs: number | null };
  readonly entropy: {
    /** The entropy of the next port, given the last one. */
    readonly bits: number;
    /** True when the sample is too small: the true value is higher. */
    readonly isLowerBound: boolean;
  };
  /** Attempts until a port is picked again; null when no port was. */
  readonly reuse: { readonly least: number; readonly median: number } | null;
  /** Whether walks to another port or host start elsewhere, and whether attempts to them advance this walk. */
  readonly dependence: {
    readonly peerPort: boolean | null;
    readonly peerAddress: boolean | null;
    readonly otherTraffic: boolean | null;
    /** False where another network namespace continues this one's walk. */
    readonly namespace: boolean | null;
    /** Why `namespace` was not observed; null when it was. */
    readonly whyNoNamespace: string | null;
  };
  readonly verdict: FingerprintVerdict;
}

/** The algorithm that explains the ports best, and by how much. */
export interface FingerprintVerdict {
  /** A row of the table of algorithms. */
  readonly name: AlgorithmName | "unknown";
  /** The name in RFC 6056; null when unknown. */
  readonly family: string | null;
  readonly kernels: string | null;
  /** Bits that the best algorithm needs to encode one attempt: the fewer, the better it fits. */
  readonly bitsPerAttempt: number;
  readonly runnerUp: {
    readonly name: AlgorithmName;
    readonly bitsPerAttempt: number;
    readonly oddsLog10: number;
  } | null;
  /** Why unknown; null when known. */
  readonly reason: string | null;
}

/** Steps beyond this are jumps: the longest known random increments are 500 ports. */
const LONGEST_STEP = 512;
/** A wrap goes from the highest 2 % of the observed ports to the lowest 2 %. */
const EDGE = 0.02;
/** The share of steps that are not the algorithm's: ports in use, other traffic, a new salt. */
const NOISE = 0.01;
const MOST_NOISE = 0.05;
const ALL_PORTS = 65_536;
const FEWEST_ATTEMPTS = 200;
/** The right algorithm fits this badly once in a million runs. */
const LEAST_P = 1e-6;
const MOST_SIGMAS = 6;
/** If the likelihoods of two algorithms differ by less than a factor of 1000, neither is named. */
const LEAST_ODDS_LOG10 = 3;

type Kind = "step" | "wrap" | "jump";

/** What every fit needs, counted once. */
interface Walk {
  readonly ports: Uint16Array;
  readonly steps: ReadonlyMap<number, number>;
  readonly jumpIndexes: readonly number[];
  readonly wraps: readonly number[];
  readonly low: number;
  readonly high: number;
  readonly isOneParity: boolean;
  readonly weave: readonly Uint16Array[];
}

/** Names the algorithm behind an observation; "unknown", with the reason, where no algorithm fits or two fit alike. */
export function fingerprint(observation: Observation): Fingerprint {
  const walk = walkOf(observation);
  const { ports, low, high } = walk;
  const odd = ports.reduce((sum, port) => sum + (port & 1), 0);
  const from = Math.max(...walk.wraps.map((index) => ports[index - 1]!));
  const to = Math.min(...walk.wraps.map((index) => ports[index]!));
  return {
    attempts: ports.length,
    low,
    high,
    parity: { even: ports.length - odd, odd },
    steps: [...walk.steps].map(([step, count]) => ({ step, count })).sort((a, b) => b.count - a.count),
    laps: walk.wraps.length,
    wrap: walk.wraps.length > 0 ? { from, to } : null,
    jumps: { count: walk.jumpIndexes.length, everyMs: periodMs(walk, observation.atMs) },
    entropy: entropyOf(walk),
    reuse: reuseOf(ports),
    dependence: { ...dependenceOf(walk), ...namespaceOf(walk, observation.namespaces) },
    verdict: verdictOf(walk, observation),
  };
}

function walkOf({ ports, weave }: Observation): Walk {
  let [low, high, odd] = [ALL_PORTS, 0, 0];
  for (const port of ports) {
    low = Math.min(low, port);
    high = Math.max(high, port);
    odd += port & 1;
  }
  const steps = new Map<number, number>();
  const [jumpIndexes, wraps]: [number[], number[]] = [[], []];
  for (let index = 1; index < ports.length; index++) {
    const step = ports[index]! - ports[index - 1]!;
    const kind = kindOf(ports[index - 1]!, ports[index]!, low, high);
    if (kind === "step") steps.set(step, (steps.get(step) ?? 0) + 1);
    else (kind === "wrap" ? wraps : jumpIndexes).push(index);
  }
  const isOneParity = odd === 0 || odd === ports.length;
  return { ports, steps, jumpIndexes, wraps, low, high, isOneParity, weave };
}

function kindOf(last: number, next: number, low: number, high: number): Kind {
  if (next > last && next - last <= LONGEST_STEP) return "step";
  const edge = (high - low) * EDGE;
  return last > high - edge && next < low + edge ? "wrap" : "jump";
}

/** The median time between jumps, where they are few enough to come from new salts. */
function periodMs(walk: Walk, atMs: Float64Array): number | null {
  const { jumpIndexes, ports } = walk;
  if (jumpIndexes.length < 2 || jumpIndexes.length > ports.length * NOISE) return null;
  const times = jumpIndexes.map((index) => atMs[index]!);
  const gaps = times.slice(1).map((time, index) => time - times[index]!);
  return quantile(
    gaps.sort((a, b) => a - b),
    0.5,
  );
}

function entropyOf({ ports, steps, jumpIndexes }: Walk): Fingerprint["entropy"] {
  const counts = new Map(steps);
  for (const index of jumpIndexes) {
    const step = ports[index]! - ports[index - 1]!;
    counts.set(step, (counts.get(step) ?? 0) + 1);
  }
  return { bits: entropyBits(counts.values()), isLowerBound: counts.size > ports.length / 8 };
}

function reuseOf(ports: Uint16Array): Fingerprint["reuse"] {
  const lastUse = new Map<number, number>();
  const distances: number[] = [];
  ports.forEach((port, index) => {
    const last = lastUse.get(port);
    if (last !== undefined) distances.push(index - last);
    lastUse.set(port, index);
  });
  distances.sort((a, b) => a - b);
  return distances.length === 0 ? null : { least: distances[0]!, median: quantile(distances, 0.5) };
}

type Dependence = Fingerprint["dependence"];

function namespaceOf(
  walk: Walk,
  sample: NamespacePicks | undefined,
): Pick<Dependence, "namespace" | "whyNoNamespace"> {
  const notObserved = (whyNoNamespace: string) => ({ namespace: null, whyNoNamespace });
  if (!sample) return notObserved("not requested");
  if (sample.reason !== null) return notObserved(sample.reason);
  if (medianStep(walk.ports) === null) return notObserved("there is no walk to continue");
  return { namespace: !sample.rounds.some(isOneWalk), whyNoNamespace: null };
}

/** Whether each port is one step from the last, also into the namespace and out of it again. */
function isOneWalk(ports: Uint16Array): boolean {
  return ports.every((port, index) => {
    const step = port - (ports[index - 1] ?? port - 1);
    return step > 0 && step <= LONGEST_STEP;
  });
}

/**
 * The weave makes attempts to every peer in turn. If each peer has its own walk, each starts elsewhere; if they share
 * a counter, the attempts to the others advance it too, so the steps of one peer are larger.
 */
function dependenceOf(walk: Walk): Omit<Dependence, "namespace" | "whyNoNamespace"> {
  const [first, otherPort, otherHost] = walk.weave;
  if (!first) return { peerPort: null, peerAddress: null, otherTraffic: null };
  const runStep = medianStep(walk.ports);
  const woven = medianStep(first);
  const isWalk = runStep !== null && woven !== null;
  return {
    peerPort: otherPort && isWalk ? !isNear(first, otherPort, runStep) : null,
    peerAddress: otherHost && isWalk ? !isNear(first, otherHost, runStep) : null,
    otherTraffic: isWalk ? woven > (runStep * (1 + walk.weave.length)) / 2 : null,
  };
}

/** The median of the forward steps; null where fewer than half are forward. */
function medianStep(ports: Uint16Array): number | null {
  const steps: number[] = [];
  for (let index = 1; index < ports.length; index++) {
    const step = ports[index]! - ports[index - 1]!;
    if (step > 0 && step <= 3 * LONGEST_STEP) steps.push(step);
  }
  if (steps.length < ports.length / 2) return null;
  return quantile(
    steps.sort((a, b) => a - b),
    0.5,
  );
}

/** Whether the ports of two peers are neighbours in most rounds, as from one counter. */
function isNear(one: Uint16Array, other: Uint16Array, step: number): boolean {
  const near = one.filter((port, round) => Math.abs(port - other[round]!) <= 4 * step);
  return near.length > one.length / 2;
}

function verdictOf(walk: Walk, { method }: Observation): FingerprintVerdict {
  const fits = PORT_ALGORITHMS.map((algorithm: PortAlgorithm) => ({
    algorithm,
    nats: logLikelihood(walk, algorithm),
  })).sort((a, b) => b.nats - a.nats);
  const [best, second] = [fits[0]!, fits[1]!];
  const bits = (nats: number) => -nats / walk.ports.length / Math.LN2;
  const oddsLog10 = (best.nats - second.nats) / Math.LN10;
  const runnerUp = { name: second.algorithm.name, bitsPerAttempt: bits(second.nats), oddsLog10 };
  const reason =
    whyUnknown(walk, best.algorithm) ??
    (oddsLog10 < LEAST_ODDS_LOG10 ? whyAlike(walk, best.algorithm, second.algorithm) : null) ??
    (best.algorithm.name === "linux-bind" && method !== "bind"
      ? `Linux makes independent picks of one parity for bind(2) only, but these came from ${method}`
      : null);
  const isKnown = reason === null;
  return {
    name: isKnown ? best.algorithm.name : "unknown",
    family: isKnown ? best.algorithm.family : null,
    kernels: isKnown ? best.algorithm.kernels : null,
    bitsPerAttempt: bits(best.nats),
    runnerUp,
    reason,
  };
}

function whyAlike(walk: Walk, best: PortAlgorithm, second: PortAlgorithm): string {
  const why = walk.weave.length === 0 ? " from attempts to one peer" : "";
  return `${best.name} and ${second.name} cannot be distinguished${why}`;
}

/** ln P(observation | algorithm), without a constant that is the same for all algorithms. */
function logLikelihood(walk: Walk, algorithm: PortAlgorithm): number {
  if (algorithm.counters === "none") return uniformLogLikelihood(walk, algorithm);
  const chances = stepChances(algorithm, 1);
  let nats = 0;
  for (const [step, count] of walk.steps) nats += count * logChance(chances, step);
  nats += walk.jumpIndexes.length * Math.log(NOISE / ALL_PORTS);
  return nats + weaveLogLikelihood(walk, algorithm);
}

function uniformLogLikelihood(walk: Walk, algorithm: PortAlgorithm): number {
  const isPossible = algorithm.stride === 1 || walk.isOneParity;
  if (!isPossible) return -Infinity;
  const choices = Math.max(1, Math.floor((walk.high - walk.low) / algorithm.stride) + 1);
  const woven = walk.weave.reduce((sum, ports) => sum + ports.length, 0);
  const attempts = walk.ports.length - 1 - walk.wraps.length + Math.max(0, woven - walk.weave.length);
  return -attempts * Math.log(choices) - Math.max(0, walk.weave.length - 1) * Math.log(choices);
}

/** The steps of each peer; and in the first round the steps from peer to peer, which show whether there are offsets. */
function weaveLogLikelihood(walk: Walk, algorithm: PortAlgorithm): number {
  const turns = algorithm.counters === "many" ? 1 : walk.weave.length;
  const chances = stepChances(algorithm, Math.max(1, turns));
  let nats = 0;
  for (const ports of walk.weave) {
    for (let round = 1; round < ports.length; round++) {
      nats += logChance(chances, ports[round]! - ports[round - 1]!);
    }
  }
  const single = stepChances(algorithm, 1);
  for (let index = 1; index < walk.weave.length; index++) {
    const step = walk.weave[index]![0]! - walk.weave[index - 1]![0]!;
    nats += algorithm.counters === "one" ? logChance(single, step) : -Math.log(ALL_PORTS);
  }
  return nats;
}

function logChance(chances: readonly number[], step: number): number {
  return Math.log((1 - NOISE) * (chances[step] ?? 0) + NOISE / ALL_PORTS);
}

/** The probability of each step after `turns` turns of one counter: the increments, convolved with themselves. */
function stepChances(algorithm: PortAlgorithm, turns: number): number[] {
  let chances = [1];
  for (let turn = 0; turn < turns; turn++) {
    const next = new Array<number>(chances.length + algorithm.increments.length * algorithm.stride).fill(0);
    chances.forEach((chance, from) => {
      algorithm.increments.forEach((increment, index) => {
        next[from + (index + 1) * algorithm.stride]! += chance * increment;
      });
    });
    chances = next;
  }
  return chances;
}

/** Why even the best algorithm of the table does not fit; null when it does. */
function whyUnknown(walk: Walk, best: PortAlgorithm): string | null {
  if (walk.ports.length < FEWEST_ATTEMPTS) {
    return `${walk.ports.length} attempts are too few: use ${FEWEST_ATTEMPTS} or more`;
  }
  return best.counters === "none" ? whyNotRandom(walk, best) : whyNotWalk(walk, best);
}

function whyNotWalk(walk: Walk, best: PortAlgorithm): string | null {
  const chances = stepChances(best, 1);
  const counts = chances.map((_, step) => walk.steps.get(step) ?? 0);
  const own = counts.reduce((sum, count) => sum + count, 0);
  const strange = 1 - own / (walk.ports.length - 1 - walk.wraps.length);
  if (strange > MOST_NOISE)
    return `${percent(strange)} of the steps are impossible for ${best.name}, the nearest`;
  const { p } = chiSquared(
    counts,
    chances.map((chance) => chance * own),
  );
  return p < LEAST_P ? `the steps are possible for ${best.name}, but their frequencies are not` : null;
}

/** Independent picks spread evenly and repeat ports as often as by chance; a shuffled walk does not. */
function whyNotRandom(walk: Walk, best: PortAlgorithm): string | null {
  const choices = Math.floor((walk.high - walk.low) / best.stride) + 1;
  const uses = new Uint32Array(choices);
  for (const port of walk.ports) uses[Math.floor((port - walk.low) / best.stride)]!++;
  const mean = walk.ports.length / choices;
  const dispersion = uses.reduce((sum, count) => sum + (count - mean) ** 2, 0) / (walk.ports.length || 1);
  const sigmas = (dispersion - 1) / Math.sqrt(2 / choices);
  if (sigmas < -MOST_SIGMAS) return "ports repeat less often than independent picks do: a shuffled walk";
  if (sigmas > MOST_SIGMAS) return "ports repeat more often than independent picks do";
  const bins = new Array<number>(32).fill(0);
  for (const port of walk.ports) bins[Math.floor(((port - walk.low) * 32) / (walk.high - walk.low + 1))]!++;
  const { p } = chiSquared(
    bins,
    bins.map(() => walk.ports.length / 32),
  );
  return p < LEAST_P ? "picks are independent but not spread evenly" : null;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
