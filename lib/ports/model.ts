/** A model of how the kernel picks a local port: a simulator of its walk, and the closed form of the wait. */

import type { PortRange } from "../socket/port-range.ts";
import { holds } from "../socket/port-range.ts";
import type { PortAlgorithm } from "./algorithms.ts";
import { meanIncrement } from "./algorithms.ts";

/** Attempts per second of one client without a pace, as assumed where none was measured. */
export const FULL_SPEED = 50_000;

/** The facts about a host that the model needs. */
export interface ModelFacts {
  readonly ephemeralRange: PortRange;
  /** Ports that the kernel never picks: reserved ports, and those owned by a bind(2). */
  readonly unusable: readonly PortRange[];
}

/** Reserved ports and `owned` ones, without `port`: a self-connect on it needs it free. */
export function unusablePorts(
  reserved: readonly PortRange[],
  owned: readonly number[],
  port: number,
): PortRange[] {
  const others = owned.filter((other) => other !== port);
  return [...reserved, ...others.map((other) => ({ low: other, high: other }))];
}

/**
 * The ports picked for one peer. As in the kernel: from the slot on, it tries ports at the distance of the stride and
 * skips unusable ones; it cuts the range to an even length for strides of two, and tries the other parity when all
 * ports of the first are in use. Then it moves the slot past the scanned ports, or further by a random increment.
 */
export class PortWalk {
  readonly #algorithm: PortAlgorithm;
  readonly #random: () => number;
  readonly #low: number;
  /** How many ports one lap of the walk has. */
  readonly #size: number;
  readonly #unusable: Uint8Array;
  #slot = 0;

  constructor(algorithm: PortAlgorithm, facts: ModelFacts, random: () => number) {
    const { low, high } = facts.ephemeralRange;
    const size = high - low + 1;
    this.#algorithm = algorithm;
    this.#random = random;
    this.#low = low;
    this.#size = size > 1 ? size - (size % 2) : size;
    this.#unusable = new Uint8Array(size);
    for (const range of facts.unusable) {
      const end = Math.min(range.high, high) - low;
      for (let offset = Math.max(0, range.low - low); offset <= end; offset++) this.#unusable[offset] = 1;
    }
    this.startAnew();
  }

  /** Moves the walk to a random place, as a new salt in the hash does. */
  startAnew(): void {
    this.#slot = Math.floor(this.#random() * this.#size);
  }

  /** The next local port; null when all are unusable (EADDRNOTAVAIL). */
  next(): number | null {
    const { stride, counters } = this.#algorithm;
    if (counters === "none") this.startAnew();
    const start = this.#firstOffset();
    const found = this.#scan(start) ?? (stride === 2 ? this.#scan(start ^ 1) : null);
    if (!found) return null;
    const further = (this.#increment() - 1) * stride;
    this.#slot = (this.#slot + Math.max(found.scanned, further) + stride) % this.#size;
    return this.#low + found.offset;
  }

  #firstOffset(): number {
    const { stride, parity } = this.#algorithm;
    if (stride === 1) return this.#slot;
    return parity === "low" ? this.#slot & ~1 : this.#slot | 1;
  }

  #scan(start: number): { offset: number; scanned: number } | null {
    const { stride } = this.#algorithm;
    let offset = start;
    for (let scanned = 0; scanned < this.#size; scanned += stride) {
      if (offset >= this.#size) offset -= this.#size;
      if (!this.#unusable[offset]) return { offset, scanned };
      offset += stride;
    }
    return null;
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
  const walk = new PortWalk(algorithm, facts, random);
  const perSalt = attemptsPerSalt(algorithm, attemptsPerSecond);
  let untilSalt = random() * perSalt;
  for (let attempt = 1; attempt <= most; attempt++) {
    if (untilSalt < 1) {
      walk.startAnew();
      untilSalt += perSalt;
    }
    untilSalt--;
    if (walk.next() === port) return attempt;
  }
  return null;
}

/** The distribution of the wait for one port, in attempts. */
export interface Wait {
  /** The probability that the kernel picks the port for one attempt. */
  readonly chancePerAttempt: number;
  readonly mean: number;
  /** The probability that so many attempts are enough. */
  cdf(attempts: number): number;
  /** The number of attempts that is enough with this probability. */
  quantile(chance: number): number;
}

/** The closed form averages over this many phases of the salt's period, because a wait may begin anywhere in it. */
const PHASES = 64;

/**
 * The wait for one port in closed form. A walk with mean increment m makes a lap of n ports in L = n / m attempts, and
 * picks the port with probability h in each lap (1 / m for a single port; more where unusable ports before it lead to
 * it). From a random start, it needs more than (k + f) L attempts with probability (1 - h)^k (1 - h f). A new salt is
 * a new random start.
 */
export function waitFor(
  algorithm: PortAlgorithm,
  facts: ModelFacts,
  port: number,
  attemptsPerSecond: number,
): Wait {
  const { ports, block } = shareOf(algorithm, facts, port);
  const chancePerAttempt = block / ports;
  const walk =
    algorithm.counters === "none"
      ? independentSurvival(chancePerAttempt)
      : lapSurvival(algorithm, ports, block);
  const perSalt = attemptsPerSalt(algorithm, attemptsPerSecond);
  const survival = perSalt === Infinity ? walk.survival : saltSurvival(walk.survival, perSalt);
  const mean = perSalt === Infinity ? walk.area(Infinity) : meanWithSalt(walk, perSalt);
  return {
    chancePerAttempt,
    mean,
    cdf: (attempts) => 1 - survival(Math.max(0, attempts)),
    quantile: (chance) => solve(survival, 1 - chance, mean),
  };
}

/** The probability of needing more than so many attempts, and its integral: the mean number made by then. */
interface Survival {
  survival(attempts: number): number;
  area(attempts: number): number;
}

function independentSurvival(chance: number): Survival {
  const survival = (attempts: number) => (1 - chance) ** attempts;
  return { survival, area: (attempts) => (1 - survival(attempts)) / chance };
}

function lapSurvival(algorithm: PortAlgorithm, ports: number, block: number): Survival {
  const length = ports / meanIncrement(algorithm);
  const hit = Math.min(1, landingChance(algorithm, block));
  const miss = 1 - hit;
  return {
    survival: (attempts) => {
      const laps = Math.floor(attempts / length);
      return miss ** laps * (1 - hit * (attempts / length - laps));
    },
    area: (attempts) => {
      const wholeLap = length * (1 - hit / 2);
      if (attempts === Infinity) return wholeLap / hit;
      const laps = Math.floor(attempts / length);
      const rest = attempts / length - laps;
      return (wholeLap * (1 - miss ** laps)) / hit + miss ** laps * length * (rest - (hit * rest ** 2) / 2);
    },
  };
}

/** The probability that a walk picks a port in a block of ports rather than passing over it. */
function landingChance(algorithm: PortAlgorithm, block: number): number {
  const missing = algorithm.increments.reduce(
    (sum, chance, index) => sum + chance * Math.max(0, index + 1 - block),
    0,
  );
  return 1 - missing / meanIncrement(algorithm);
}

function saltSurvival(survival: (attempts: number) => number, perSalt: number): (attempts: number) => number {
  const whole = survival(perSalt);
  return (attempts) => {
    let sum = 0;
    for (let phase = 0; phase < PHASES; phase++) {
      const first = ((phase + 0.5) / PHASES) * perSalt;
      const rest = attempts - first;
      if (rest <= 0) sum += survival(attempts);
      else sum += survival(first) * whole ** Math.floor(rest / perSalt) * survival(rest % perSalt);
    }
    return sum / PHASES;
  };
}

function meanWithSalt({ survival, area }: Survival, perSalt: number): number {
  const later = area(perSalt) / (1 - survival(perSalt));
  let sum = 0;
  for (let phase = 0; phase < PHASES; phase++) {
    const first = ((phase + 0.5) / PHASES) * perSalt;
    sum += area(first) + survival(first) * later;
  }
  return sum / PHASES;
}

/** At least 1: a walk that is salted more often than it makes an attempt starts anew with each attempt. */
function attemptsPerSalt({ saltMs }: PortAlgorithm, attemptsPerSecond: number): number {
  return saltMs === null ? Infinity : Math.max(1, (attemptsPerSecond * saltMs) / 1000);
}

/** How many ports a lap has, and how many of them lead to this port: itself, and the unusable ones just before it. */
function shareOf(
  algorithm: PortAlgorithm,
  facts: ModelFacts,
  port: number,
): { ports: number; block: number } {
  const { low, high } = facts.ephemeralRange;
  const size = high - low + 1;
  const ports = Math.max(1, Math.floor((size > 1 ? size - (size % 2) : size) / algorithm.stride));
  const isUnusable = (candidate: number) => facts.unusable.some((range) => holds(range, candidate));
  let block = 1;
  for (
    let before = port - algorithm.stride;
    before >= low && isUnusable(before);
    before -= algorithm.stride
  ) {
    block++;
  }
  return { ports, block: Math.min(block, ports) };
}

/** Finds where a falling function reaches a value, by doubling and bisection. */
function solve(survival: (attempts: number) => number, value: number, scale: number): number {
  let [below, above] = [0, Math.max(1, scale)];
  while (survival(above) > value) [below, above] = [above, above * 2];
  for (let round = 0; round < 60; round++) {
    const middle = (below + above) / 2;
    if (survival(middle) > value) below = middle;
    else above = middle;
  }
  return above;
}
