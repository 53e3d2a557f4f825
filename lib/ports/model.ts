/** A model of how the kernel picks a local port: a simulator of its walk, and the exact distribution of the wait. */

import { checkShape } from "../socket/misuse.ts";
import type { PortAlgorithm } from "./algorithms.ts";
import { checkAlgorithm } from "./algorithms.ts";
import type { Chain } from "./chain.ts";
import { buildChain, pickChance } from "./chain.ts";
import { meansOf } from "./mean.ts";
import type { ModelFacts } from "./scan.ts";
import { searchedParts, strideChances } from "./scan.ts";
import type { WalkSegment } from "./segment.ts";
import { segmentOf } from "./segment.ts";

export type { ModelFacts } from "./scan.ts";

/** Attempts per second of one client without a pace, as assumed where none was measured. */
export const FULL_SPEED = 50_000;
const ALL_PORTS = 65_536;

/**
 * The ports picked for one peer: the loops of the kernel, line by line. From the slot on, it tries ports at the
 * distance of the stride and skips unusable ones; for strides of two it cuts the range to an even length, and tries the
 * other parity when all ports of the first are unusable. Then it moves the slot past the tried ports, or further by a
 * random increment.
 */
export class PortWalk {
  readonly #algorithm: PortAlgorithm;
  readonly #facts: ModelFacts;
  readonly #random: () => number;
  readonly #isUnusable: Uint8Array;
  /** The strides of a search over so many places, by their number. */
  readonly #strides = new Map<number, [stride: number, chance: number][]>();
  #slot = 0;

  constructor(algorithm: PortAlgorithm, facts: ModelFacts, random: () => number) {
    checkAlgorithm(algorithm);
    checkShape("new PortWalk() takes the facts of a host", facts, ["ephemeralRange", "unusable"]);
    this.#algorithm = algorithm;
    this.#facts = facts;
    this.#random = random;
    this.#isUnusable = new Uint8Array(ALL_PORTS);
    for (const { low, high } of facts.unusable) this.#isUnusable.fill(1, low, high + 1);
    this.startAnew();
  }

  /** Moves the walk to a random place, as a new salt in the hash does. */
  startAnew(): void {
    this.#slot = Math.floor(this.#random() * 2 ** 30) * 2;
    if (this.#algorithm.stride === 1) this.#slot = Math.floor(this.#random() * 2 ** 31);
  }

  /** The next local port; null when all are unusable (EADDRNOTAVAIL). */
  next(): number | null {
    if (this.#algorithm.counters === "none") return this.#nextIndependent();
    const { low, high } = this.#facts.ephemeralRange;
    const found = this.#scan(low, high, this.#slot);
    if (!found) return null;
    const further = (this.#increment() - 1) * this.#algorithm.stride;
    this.#slot += Math.max(found.scanned, further) + this.#algorithm.stride;
    return found.port;
  }

  #nextIndependent(): number | null {
    for (const { low, high } of searchedParts(
      this.#facts.ephemeralRange,
      this.#facts.reuseAddress === true,
    )) {
      this.startAnew();
      const found = this.#scan(low, high, this.#slot);
      if (found) return found.port;
    }
    return null;
  }

  #scan(low: number, high: number, slot: number): { port: number; scanned: number } | null {
    const { stride, parity } = this.#algorithm;
    const size = high - low + 1;
    const remaining = stride === 2 && size > 1 ? size - (size % 2) : size;
    const offset = slot % remaining;
    if (stride === 1) return this.#pass(low + offset, high, remaining, this.#drawStride(remaining));
    const step = this.#drawStride(remaining >> 1) * stride;
    const first = parity === "low" || remaining === 1 ? offset & ~1 : offset | 1;
    return (
      this.#pass(low + first, high, remaining, step) ??
      (remaining > 1 ? this.#pass(low + (first ^ 1), high, remaining, step) : null)
    );
  }

  #pass(
    start: number,
    high: number,
    remaining: number,
    step: number,
  ): { port: number; scanned: number } | null {
    let port = start;
    for (let scanned = 0; scanned < remaining; scanned += this.#algorithm.stride, port += step) {
      if (port > high) port -= remaining;
      if (!this.#isUnusable[port]) return { port, scanned };
    }
    return null;
  }

  #drawStride(places: number): number {
    const width = this.#facts.stepWidth ?? 0;
    if (width === 0 || this.#algorithm.counters === "none") return 1;
    const strides = this.#strides.get(places) ?? [...strideChances(places, width)];
    this.#strides.set(places, strides);
    let left = this.#random();
    for (const [stride, chance] of strides) {
      left -= chance;
      if (left < 0) return stride;
    }
    return 1;
  }

  /** Draws the number of strides to the next port. */
  #increment(): number {
    const { increments } = this.#algorithm;
    let left = this.#random();
    for (let index = 0; index < increments.length; index++) {
      left -= increments[index]!;
      if (left < 0) return index + 1;
    }
    return Math.max(1, increments.length);
  }
}

/**
 * Simulates one wait: attempts from a cold start up to and including the one for which the walk picks the port. Returns
 * null when `most` are not enough. A walk with a salt moves elsewhere every `saltMs`, so the rate matters.
 */
export function simulateWait(
  algorithm: PortAlgorithm,
  facts: ModelFacts,
  port: number,
  attemptsPerSecond: number,
  random: () => number,
  most = 10_000_000,
): number | null {
  checkModel(algorithm, facts);
  const walk = new PortWalk(algorithm, facts, random);
  const perSalt = attemptsPerSalt(algorithm, attemptsPerSecond);
  let untilSalt = random() * perSalt;
  for (let attempt = 1; attempt <= most; attempt++) {
    if (untilSalt < 0) {
      walk.startAnew();
      untilSalt += perSalt * Math.ceil(-untilSalt / perSalt);
    }
    untilSalt--;
    if (walk.next() === port) return attempt;
  }
  return null;
}

/** The distribution of the wait for one port, in attempts. */
export interface Wait {
  /**
   * The probability that the kernel picks the port for the first attempt, and for the first after each new salt. It is
   * 0 when the port is never picked.
   */
  readonly chancePerAttempt: number;
  /** Infinity when the port may never be picked. */
  readonly mean: number;
  /** The probability that so many attempts are enough. Needs no `this`. */
  readonly cdf: (attempts: number) => number;
  /** The number of attempts that is enough with this probability; Infinity when none is. */
  quantile(chance: number): number;
}

/**
 * Computes the wait for one port, from a random place of the walk, by iterating over the states of the walk. A new salt
 * is a new random place, and a wait begins anywhere in the salt's period. All that predicts a wait asks this function.
 */
export function waitFor(
  algorithm: PortAlgorithm,
  facts: ModelFacts,
  port: number,
  attemptsPerSecond: number,
): Wait {
  checkModel(algorithm, facts);
  const chancePerAttempt = pickChance(algorithm, facts, port);
  const perSalt = attemptsPerSalt(algorithm, attemptsPerSecond);
  if (chancePerAttempt === 0) return NEVER;
  if (algorithm.counters === "none" || perSalt <= 1) return independentWait(chancePerAttempt);
  return new WalkWait(buildChain(algorithm, facts, port), chancePerAttempt, perSalt);
}

function checkModel(algorithm: PortAlgorithm, facts: ModelFacts): void {
  checkAlgorithm(algorithm);
  checkShape("a model takes { ephemeralRange, unusable }", facts, ["ephemeralRange", "unusable"]);
}

const NEVER: Wait = {
  chancePerAttempt: 0,
  mean: Number.POSITIVE_INFINITY,
  cdf: () => 0,
  quantile: () => Number.POSITIVE_INFINITY,
};

function independentWait(chance: number): Wait {
  return {
    chancePerAttempt: chance,
    mean: 1 / chance,
    cdf: (attempts) => 1 - (1 - chance) ** Math.max(0, Math.floor(attempts)),
    quantile: (wanted) =>
      chance === 1 ? 1 : Math.max(1, Math.ceil(Math.log(1 - wanted) / Math.log(1 - chance) - 1e-9)),
  };
}

/** Whole numbers of attempts up to this have a phase each; longer periods are represented by PHASES phases. */
const MOST_PHASES = 512;
const PHASES = 64;
/** After so many times its mean, no wait lasts: a longer period of the salt changes nothing. */
const LONG = 30;

/** The wait of a walk: from a random place, then from another one after each new salt. */
class WalkWait implements Wait {
  readonly chancePerAttempt: number;
  readonly #chain: Chain;
  readonly #perSalt: number;
  readonly #phases: readonly number[];
  #segment: WalkSegment | null = null;
  #mean: number | null = null;

  constructor(chain: Chain, chancePerAttempt: number, perSalt: number) {
    this.#chain = chain;
    this.chancePerAttempt = chancePerAttempt;
    this.#perSalt = perSalt;
    this.#phases = phasesOf(perSalt);
  }

  get mean(): number {
    this.#mean ??= this.#computeMean();
    return this.#mean;
  }

  readonly cdf = (attempts: number): number => 1 - this.#survival(Math.max(0, Math.floor(attempts)));

  quantile(chance: number): number {
    let [below, above] = [0, 1];
    while (this.#survival(above) > 1 - chance) {
      if (above > Number.MAX_SAFE_INTEGER / 2) return Number.POSITIVE_INFINITY;
      [below, above] = [above, above * 2];
    }
    while (above - below > 1) {
      const middle = Math.floor((below + above) / 2);
      if (this.#survival(middle) > 1 - chance) below = middle;
      else above = middle;
    }
    return above;
  }

  get #walk(): WalkSegment {
    this.#segment ??= segmentOf(this.#chain, Math.ceil(this.#perSalt));
    return this.#segment;
  }

  #computeMean(): number {
    // No walk needs less than half the attempts of independent picks: the equations are not solved for nothing.
    const isPossible = (LONG * 0.25) / this.chancePerAttempt < this.#perSalt;
    const means = isPossible ? meansOf(this.#chain) : null;
    if (means) {
      const mean = means.reduce((sum, value) => sum + value, 0) / means.length;
      if (mean * LONG < this.#perSalt) return mean;
    }
    if (this.#perSalt === Number.POSITIVE_INFINITY) return this.#walk.area(Number.POSITIVE_INFINITY);
    return this.#phases.reduce((sum, phase) => sum + this.#meanFrom(phase), 0) / this.#phases.length;
  }

  /** The attempts before the salt changes for the `times`-th time. A wait begins `phase` attempts after a change. */
  #attemptsBefore(times: number, phase: number): number {
    return times === 0 ? 0 : Math.ceil(times * this.#perSalt - phase - 1e-9);
  }

  #survival(attempts: number): number {
    if (this.#perSalt === Number.POSITIVE_INFINITY) return this.#walk.survival(attempts);
    return (
      this.#phases.reduce((sum, phase) => sum + this.#survivalFrom(phase, attempts), 0) / this.#phases.length
    );
  }

  #survivalFrom(phase: number, attempts: number): number {
    const walk = this.#walk;
    const first = this.#attemptsBefore(1, phase);
    if (attempts <= first) return walk.survival(attempts);
    let changes = Math.floor((phase + attempts) / this.#perSalt);
    while (this.#attemptsBefore(changes, phase) >= attempts) changes--;
    const before = this.#attemptsBefore(changes, phase);
    // The periods between the changes have a whole number of attempts: one of two that follow each other.
    const short = Math.floor(this.#perSalt + 1e-9);
    const long = before - first - (changes - 1) * short;
    const periods = walk.survival(short) ** (changes - 1 - long) * walk.survival(short + 1) ** long;
    return walk.survival(first) * periods * walk.survival(attempts - before);
  }

  #meanFrom(phase: number): number {
    const walk = this.#walk;
    let [alive, mean, made] = [1, 0, 0];
    for (let changes = 1; alive > 1e-9; changes++) {
      const before = this.#attemptsBefore(changes, phase);
      mean += alive * walk.area(before - made);
      alive *= walk.survival(before - made);
      made = before;
      if (changes < MOST_PHASES) continue;
      // From here on the mean of what remains is the same at each change of the salt, but for a rounding.
      const short = Math.floor(this.#perSalt);
      const share = this.#perSalt - short;
      const area = (1 - share) * walk.area(short) + share * walk.area(short + 1);
      const survival = (1 - share) * walk.survival(short) + share * walk.survival(short + 1);
      return mean + (alive * area) / (1 - survival);
    }
    return mean;
  }
}

/** How long ago, in attempts, the salt changed when a wait begins: all phases are as likely. */
function phasesOf(perSalt: number): number[] {
  if (perSalt === Number.POSITIVE_INFINITY) return [];
  const isWhole = Math.abs(perSalt - Math.round(perSalt)) < 1e-9 && perSalt <= MOST_PHASES;
  const count = isWhole ? Math.round(perSalt) : PHASES;
  return Array.from({ length: count }, (_, index) => ((index + 0.5) * perSalt) / count);
}

/**
 * The mean number of further attempts, when the walk has just picked another port; without regard to salts. Returns
 * null for a port that the walk does not pick, and when it is not known that this one is picked at all.
 */
export function remainingAttempts(
  algorithm: PortAlgorithm,
  facts: ModelFacts,
  port: number,
): (localPort: number) => number | null {
  const { low, high } = facts.ephemeralRange;
  const chance = pickChance(algorithm, facts, port);
  if (algorithm.counters === "none") return () => (chance === 0 ? null : 1 / chance);
  const chain = buildChain(algorithm, facts, port);
  const means = chance === 0 ? null : meansOf(chain);
  return (localPort) => {
    if (!means || localPort < low || localPort > high) return null;
    const { places, own, usual } = chain;
    const step = Math.floor((localPort - low) / algorithm.stride) - own - 1 + 2 * places;
    return usual.advances.reduce((sum, advance, index) => {
      return sum + usual.chances[index]! * means[(step + advance) % places]!;
    }, 0);
  };
}

function attemptsPerSalt({ saltMs }: PortAlgorithm, attemptsPerSecond: number): number {
  return saltMs === null ? Number.POSITIVE_INFINITY : (attemptsPerSecond * saltMs) / 1000;
}
