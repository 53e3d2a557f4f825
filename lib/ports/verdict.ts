/** Names the algorithm that explains local ports best, or reports why none can be named. Pure. */

import { chiSquared } from "../loop/statistics.ts";
import { checkKeys, checkShape } from "../socket/misuse.ts";
import type { AlgorithmName } from "./algorithms.ts";
import { resembles } from "./algorithms.ts";
import type { Explanation } from "./explanations.ts";
import { EXPLANATIONS, stepChances } from "./explanations.ts";
import type { From, Picks, Span, StepClass } from "./picks.ts";
import { classifySteps, LONGEST_COUNTED, orderSigmas, spanOf } from "./picks.ts";

/** The algorithm that explains the ports best, and by how much. */
export interface FingerprintVerdict {
  /** A row of the table of algorithms. */
  readonly name: AlgorithmName | "unknown";
  /** The name in RFC 6056; null when unknown. */
  readonly family: string | null;
  /** The kernels that are known for it; null when unknown, and for an algorithm known only from the RFC. */
  readonly kernels: string | null;
  /** The system, other than Linux, whose ports look like this; absent when none does. */
  readonly resembles?: string;
  /** Bits that the best algorithm needs to encode one attempt: the fewer, the better it fits. Null for too few. */
  readonly bitsPerAttempt: number | null;
  /** The next best explanation: an algorithm, or a mechanism that has no name. */
  readonly runnerUp: {
    readonly name: string;
    readonly bitsPerAttempt: number;
    readonly oddsLog10: number;
  } | null;
  /** Why unknown; null when known. */
  readonly reason: string | null;
}

/** A verdict needs so many picks that inform: to one peer, soon after one another. */
export const FEWEST_PICKS = 200;
/** Picks that show no walk may be independent; with fewer than this, much else looks so too. */
export const FEWEST_INDEPENDENT = 1000;

/** The share of steps that are not the algorithm's: ports in use, other traffic, packets that changed their order. */
const NOISES = [0.01, 0.05];
const MOST_NOISE = 0.05;
/** The share of picks that were not captured, or were for peers that were not. */
const LOSSES = [0, 0.01, 0.03, 0.0625, 0.12, 0.25];
/** With more loss, one algorithm looks like another. */
const MOST_LOSS = 0.0625;
/** The right algorithm fits this badly once in a million runs. */
const LEAST_P = 1e-6;
const MOST_SIGMAS = 6;
/** If the likelihoods of two explanations differ by less than a factor of 100,000, neither is named. */
const LEAST_ODDS_LOG10 = 5;
/** The fewest picks for each peer, on average, that show whether they are independent. */
const FEWEST_PER_PEER = 500;
/** A peer's counter may start next to another's by chance, but not so often. */
const FEWEST_TURNS = 4;
/** A walk's next port is at most so far above: Linux, and RFC 6056's random increments. */
const REACHES = [16, 512];
const MOST_BINS = 32;

const FROM: Readonly<Record<Exclude<Explanation["counters"], "none">, From>> = {
  one: "host",
  "one-with-offsets": "peer-with-gap",
  many: "peer",
};

/** What every fit needs, counted once. */
interface Evidence {
  readonly picks: Picks;
  readonly span: Span;
  readonly peers: number;
  readonly steps: Readonly<Record<From, readonly StepClass[]>>;
  readonly independent: number;
}

interface Fit {
  readonly explanation: Explanation;
  readonly nats: number;
  readonly loss: number;
}

/**
 * Names the algorithm behind the picks; "unknown", with the reason, where no algorithm fits or two fit alike.
 * `independent` is how many picks show that they are independent: fewer where the picks of only one socket after
 * another were observed.
 */
export function judgePicks(
  picks: Picks,
  options: { readonly independent?: number } = {},
): FingerprintVerdict {
  checkKeys("judgePicks()", options, ["independent"]);
  const { independent = FEWEST_INDEPENDENT } = options;
  checkShape("judgePicks() takes picks, { ports, atMs, peers }", picks, ["ports", "atMs", "peers"]);
  const { length } = picks.ports;
  if (length < FEWEST_PICKS) {
    const reason = `${length} attempts are too few: use ${FEWEST_PICKS} or more`;
    return { name: "unknown", family: null, kernels: null, bitsPerAttempt: null, runnerUp: null, reason };
  }
  const span = spanOf(picks.ports);
  const steps = {
    host: classifySteps(picks, span, "host"),
    peer: classifySteps(picks, span, "peer"),
    "peer-with-gap": classifySteps(picks, span, "peer-with-gap"),
  };
  const evidence = { picks, span, peers: new Set(picks.peers).size, steps, independent };
  const fits = EXPLANATIONS.map((explanation) => measureFit(evidence, explanation)).sort(
    (a, b) => b.nats - a.nats,
  );
  const best = fits[0]!;
  const second = fits.find(({ explanation }) => explanation.label !== best.explanation.label)!;
  const bits = (nats: number) => -nats / length / Math.LN2;
  const oddsLog10 = (best.nats - second.nats) / Math.LN10;
  const reason =
    whyTooFew(evidence, best.explanation) ?? whyUnfit(evidence, best) ?? whyAlike(evidence, best, second);
  const algorithm = reason === null ? best.explanation.algorithm : null;
  const system = algorithm && resembles(algorithm.name, span);
  return {
    name: algorithm?.name ?? "unknown",
    family: algorithm?.family ?? null,
    kernels: algorithm?.kernels ?? null,
    ...(system && { resembles: system }),
    bitsPerAttempt: bits(best.nats),
    runnerUp: { name: second.explanation.label, bitsPerAttempt: bits(second.nats), oddsLog10 },
    reason,
  };
}

/** The likelihood of the picks, with the loss and the noise that fit best. */
function measureFit(evidence: Evidence, explanation: Explanation): Fit {
  if (explanation.counters === "none") {
    const isPossible = explanation.stride === 1 || evidence.span.isOneParity;
    const nats = -evidence.picks.ports.length * Math.log(choicesOf(evidence, explanation));
    return { explanation, nats: isPossible ? nats : -Infinity, loss: 0 };
  }
  return LOSSES.map((loss) => ({ explanation, nats: walkNats(evidence, explanation, loss), loss })).reduce(
    (best, one) => (one.nats > best.nats ? one : best),
  );
}

function choicesOf({ span }: Evidence, { stride }: Explanation): number {
  return Math.max(1, span.size / stride);
}

function classesOf({ steps }: Evidence, { counters }: Explanation): readonly StepClass[] {
  return counters === "none" ? steps.peer : steps[FROM[counters]];
}

/** ln P(ports | explanation), with the better of the noises. A port without a predecessor may be any of the range. */
function walkNats(evidence: Evidence, explanation: Explanation, loss: number): number {
  const { size } = evidence.span;
  const anywhere = 1 / choicesOf(evidence, explanation);
  const nats = NOISES.map(() => 0);
  let stepped = 0;
  for (const { gap, salted, counts, longer, total } of classesOf(evidence, explanation)) {
    const chances = stepChances(explanation, gap, loss, size);
    const jump = explanation.saltMs === null ? 0 : salted;
    NOISES.forEach((noise, index) => {
      const floor = (1 - jump) * (noise / size) + jump * anywhere;
      const share = (1 - jump) * (1 - noise);
      for (const [step, count] of counts) nats[index]! += count * Math.log(share * chances[step]! + floor);
      nats[index]! += longer * Math.log(floor);
    });
    stepped += total;
  }
  return Math.max(...nats) + (evidence.picks.ports.length - stepped) * Math.log(anywhere);
}

/** Why there is too little to judge; null when there is enough. */
function whyTooFew(evidence: Evidence, { counters, saltMs }: Explanation): string | null {
  const { length } = evidence.picks.ports;
  // Steps from one peer's port to another's inform where all peers share a counter without offsets.
  const isQuickNeeded = counters === "none" || saltMs !== null;
  const needed = counters === "none" ? evidence.independent : FEWEST_PICKS;
  const classes = counters === "one" ? evidence.steps.host : evidence.steps.peer;
  const informing = classes.reduce(
    (sum, { total, isQuick }) => sum + (isQuick || !isQuickNeeded ? total : 0),
    1,
  );
  // Walks that are interrupted after a few picks look independent.
  if (counters === "none" && evidence.peers > 1 && length < FEWEST_PER_PEER * evidence.peers)
    return `${length} attempts to ${evidence.peers} peers: that picks are independent shows in many to one peer`;
  if (informing >= needed) return null;
  return (
    `${informing} of ${length} attempts inform: a verdict needs ${needed} that follow another one to the same peer ` +
    "within 3 s"
  );
}

/** Why even the best explanation does not fit; null when it does. */
function whyUnfit(evidence: Evidence, best: Fit): string | null {
  return best.explanation.counters === "none"
    ? whyNotRandom(evidence, best.explanation)
    : whyNotWalk(evidence, best);
}

function whyAlike({ picks, peers, steps }: Evidence, best: Fit, second: Fit): string | null {
  const { label, algorithm, peers: needed } = best.explanation;
  const returns = steps["peer-with-gap"].reduce((sum, { gap, total }) => sum + (gap > 1 ? total : 0), 0);
  const why = peers === 1 ? " from attempts to one peer" : "";
  if ((best.nats - second.nats) / Math.LN10 < LEAST_ODDS_LOG10)
    return `${label} and ${second.explanation.label} cannot be distinguished${why}`;
  if (algorithm === null) return `${label} fits best: it has no name here`;
  if (algorithm.counters === "one" && turnsOf(picks) < FEWEST_TURNS)
    return `${label} and a counter for each peer cannot be distinguished${why}`;
  if (returns < best.explanation.returns)
    return `${label} and other counters cannot be distinguished unless attempts go to several peers in turn`;
  return peers >= needed
    ? null
    : `${label} and a counter for each peer cannot be distinguished from attempts to ${peers} peers: use ${needed}`;
}

/** How often the next pick was for another peer. */
function turnsOf({ peers }: Picks): number {
  return peers.reduce(
    (turns, peer, index) => (index > 0 && peer !== peers[index - 1] ? turns + 1 : turns),
    0,
  );
}

function whyNotWalk(evidence: Evidence, { explanation, loss }: Fit): string | null {
  const { stride, saltMs, label } = explanation;
  if (loss > MOST_LOSS) return `about ${percent(loss)} of the attempts are missing: too many for a verdict`;
  const counts = new Map<number, number>();
  const expected = new Map<number, number>();
  let [own, all] = [0, 0];
  for (const { gap, salted, counts: steps, total } of classesOf(evidence, explanation)) {
    const chances = stepChances(explanation, gap, loss, evidence.span.size);
    let ownHere = 0;
    for (const [step, count] of steps) if (chances[step]! > 0) ownHere += count;
    chances.forEach((chance, step) => {
      if (chance === 0) return;
      // Steps over several picks of the counter are compared by what they exceed the shortest.
      const excess = step - gap * stride;
      counts.set(excess, (counts.get(excess) ?? 0) + (steps.get(step) ?? 0));
      expected.set(excess, (expected.get(excess) ?? 0) + chance * ownHere);
    });
    own += ownHere;
    all += total * (saltMs === null ? 1 : 1 - salted);
  }
  const strange = Math.max(0, 1 - own / Math.max(1, all));
  if (strange > MOST_NOISE)
    return `${percent(strange)} of the steps are impossible for ${label}, the nearest`;
  const order = [...expected.keys()].sort((a, b) => a - b);
  const { p } = chiSquared(
    order.map((excess) => counts.get(excess) ?? 0),
    order.map((excess) => expected.get(excess)!),
  );
  return p < LEAST_P ? `the steps are possible for ${label}, but their frequencies are not` : null;
}

/** Independent picks spread evenly, in any order, and repeat ports as often as by chance; walks do not. */
function whyNotRandom({ picks, span }: Evidence, { stride }: Explanation): string | null {
  const { ports } = picks;
  if (stride === 1 && span.size < LONGEST_COUNTED)
    return `random increments look like independent picks in a range of ${span.size} ports`;
  const choices = Math.floor((span.high - span.low) / stride) + 1;
  const uses = new Uint32Array(choices);
  for (const port of ports) uses[Math.floor((port - span.low) / stride)]!++;
  const mean = ports.length / choices;
  const dispersion = uses.reduce((sum, count) => sum + (count - mean) ** 2, 0) / (ports.length || 1);
  const sigmas = (dispersion - 1) / Math.sqrt(2 / choices);
  if (sigmas < -MOST_SIGMAS) return "ports repeat less often than independent picks do: a shuffled walk";
  if (sigmas > MOST_SIGMAS) return "ports repeat more often than independent picks do";
  if (REACHES.some((reach) => Math.abs(orderSigmas(ports, reach)) > MOST_SIGMAS))
    return "ports follow those just below them: several walks, as of several hosts behind one address";
  // The bins differ by at most one port in size, and there are as many for odd ports as for even ones.
  const bins = Math.min(MOST_BINS, choices);
  const half = Math.ceil(choices / 2);
  const counts = new Array<number>(bins).fill(0);
  const expected = new Array<number>(bins).fill(0);
  uses.forEach((count, choice) => {
    const place = (choice % 2) * half + Math.floor(choice / 2);
    const bin = Math.floor((place * bins) / choices);
    counts[bin]! += count;
    expected[bin]! += mean;
  });
  return chiSquared(counts, expected).p < LEAST_P ? "picks are independent but not spread evenly" : null;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
