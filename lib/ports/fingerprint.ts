/** Names the algorithm that picked a sequence of local ports. Pure. */

import { entropyBits, quantile } from "../loop/statistics.ts";
import { checkShape } from "../socket/misuse.ts";
import type { Dependence } from "./dependence.ts";
import { dependenceOf } from "./dependence.ts";
import type { Picks } from "./picks.ts";
import { spanOf } from "./picks.ts";
import type { Observation } from "./sample.ts";
import type { FingerprintVerdict } from "./verdict.ts";
import { FEWEST_PICKS, judgePicks } from "./verdict.ts";

/** Statistics of a sequence of local ports, and the algorithm that explains it. */
export interface Fingerprint {
  /** How many picks were examined. */
  readonly attempts: number;
  /** The lowest port that was picked. */
  readonly low: number;
  /** The highest port that was picked. */
  readonly high: number;
  /** How many picks were even and odd. */
  readonly parity: { readonly even: number; readonly odd: number };
  /** Steps from a port to the next one, the most frequent first; without wraps and jumps. */
  readonly steps: readonly { readonly step: number; readonly count: number }[];
  /** How often the walk reached the high end and continued at the low end. */
  readonly laps: number;
  /** The highest port before such a wrap and the lowest after one. */
  readonly wrap: { readonly from: number; readonly to: number } | null;
  /** Steps that are neither: a new salt moved the walk, or there is no walk. */
  readonly jumps: { readonly count: number; readonly everyMs: number | null };
  /** How hard the next port is to guess, in bits. */
  readonly entropy: {
    /** The entropy of the next port, given the last one. */
    readonly bits: number;
    /** True when the sample is too small: the true value is higher. */
    readonly isLowerBound: boolean;
  };
  /** Attempts until a port is picked again; null when no port was. */
  readonly reuse: { readonly least: number; readonly median: number } | null;
  /** What the walk depends on. */
  readonly dependence: Dependence;
  /** The algorithm that explains the picks best, or why none does. */
  readonly verdict: FingerprintVerdict;
}

/** Steps beyond this are jumps: the longest known random increments are 500 ports. */
const LONGEST_STEP = 512;
/** A wrap goes from the highest 2 % of the observed ports to the lowest 2 %. */
const EDGE = 0.02;
/** More jumps than this share of the steps do not come from new salts. */
const MOST_JUMPS = 0.01;
type Kind = "step" | "wrap" | "jump";

/** What every fit needs, counted once. */
interface Walk {
  readonly ports: Uint16Array;
  readonly steps: ReadonlyMap<number, number>;
  readonly jumpIndexes: readonly number[];
  readonly wraps: readonly number[];
  readonly low: number;
  readonly high: number;
}

/**
 * Names the algorithm behind an observation; "unknown", with the reason, where no algorithm fits or two fit alike.
 *
 * @example
 * import { fingerprint, samplePorts } from "selfconnect/ports";
 *
 * const observation = await samplePorts({ peer: "127.0.0.1:50000", count: 300 });
 * const { parity, low, high } = fingerprint(observation);
 * console.log(parity.odd, low >= 32_768, high <= 60_999); // 0 true true
 */
export function fingerprint(observation: Observation): Fingerprint {
  checkShape("fingerprint() takes what samplePorts() returned", observation, ["method", "ports", "atMs"]);
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
    dependence: dependenceOf(observation),
    verdict: verdictOf(observation),
  };
}

function walkOf({ ports }: Observation): Walk {
  const { low, high } = spanOf(ports);
  const steps = new Map<number, number>();
  const [jumpIndexes, wraps]: [number[], number[]] = [[], []];
  for (let index = 1; index < ports.length; index++) {
    const step = ports[index]! - ports[index - 1]!;
    const kind = kindOf(ports[index - 1]!, ports[index]!, low, high);
    if (kind === "step") steps.set(step, (steps.get(step) ?? 0) + 1);
    else (kind === "wrap" ? wraps : jumpIndexes).push(index);
  }
  return { ports, steps, jumpIndexes, wraps, low, high };
}

function kindOf(last: number, next: number, low: number, high: number): Kind {
  if (next > last && next - last <= LONGEST_STEP) return "step";
  const edge = (high - low) * EDGE;
  return last > high - edge && next < low + edge ? "wrap" : "jump";
}

/** The median time between jumps, where they are few enough to come from new salts. */
function periodMs(walk: Walk, atMs: Float64Array): number | null {
  const { jumpIndexes, ports } = walk;
  if (jumpIndexes.length < 2 || jumpIndexes.length > ports.length * MOST_JUMPS) return null;
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

/** A verdict needs the order of all picks: those of the run, then those of the weave, peer by peer in turn. */
function picksOf({ ports, weave, atMs }: Observation): Picks {
  const woven = weave.length * (weave[0]?.length ?? 0);
  const length = ports.length + woven;
  const picks = {
    ports: new Uint16Array(length),
    peers: new Uint32Array(length),
    atMs: new Float64Array(length).fill(atMs.at(-1) ?? 0),
  };
  picks.ports.set(ports);
  picks.atMs.set(atMs);
  for (let index = 0; index < woven; index++) {
    const peer = index % weave.length;
    picks.ports[ports.length + index] = weave[peer]![Math.floor(index / weave.length)]!;
    picks.peers[ports.length + index] = peer;
  }
  return picks;
}

function verdictOf(observation: Observation): FingerprintVerdict {
  const verdict = judgePicks(picksOf(observation), { independent: FEWEST_PICKS });
  const { method, ports } = observation;
  if (ports.length < FEWEST_PICKS) {
    return makeUnknown(verdict, `${ports.length} attempts are too few: use ${FEWEST_PICKS} or more`);
  }
  if (verdict.name !== "linux-bind" || method === "bind") return verdict;
  const reason = `Linux makes independent picks of one parity for bind(2) only, but these came from ${method}`;
  return makeUnknown(verdict, reason);
}

function makeUnknown(verdict: FingerprintVerdict, reason: string): FingerprintVerdict {
  return { ...verdict, name: "unknown", family: null, kernels: null, reason };
}
