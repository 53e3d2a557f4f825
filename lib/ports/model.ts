/** A model of the kernel's choice of a local port: a simulator of its walk, and the closed form of the wait. */

import type { PortRange } from "../socket/port-range.ts";
import { holds } from "../socket/port-range.ts";
import type { PortAlgorithm } from "./algorithms.ts";
import { meanIncrement } from "./algorithms.ts";

/** What the model needs to know of a host. */
export interface ModelFacts {
  readonly ephemeralRange: PortRange;
  /** Ports that are never picked: reserved ones, and those that a bind(2) owns. */
  readonly unusable: readonly PortRange[];
}

/** Reserved ports, and those that a bind(2) owns, but for the one that is waited for: it is free then. */
export function unusablePorts(
  reserved: readonly PortRange[],
  owned: readonly number[],
  port: number,
): PortRange[] {
  const others = owned.filter((other) => other !== port);
  return [...reserved, ...others.map((other) => ({ low: other, high: other }))];
}

/**
 * The picks of one peer. As in the kernel: from the slot on, ports are tried by the stride, ports that cannot be
 * used are passed over, the range is cut to an even length for strides of two, and the other parity has its turn
 * when all of the first is in use. Then the slot moves past what was scanned, or further by chance.
 */
export class PortWalk {
  readonly #algorithm: PortAlgorithm;
  readonly #random: () => number;
  readonly #low: number;
  /** How many ports the walk goes round. */
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

  /** A new salt in the hash: the walk goes on from anywhere. */
  startAnew(): void {
    this.#slot = Math.floor(this.#random() * this.#size);
  }

  /** The next local port; null when none can be used (EADDRNOTAVAIL). */
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

  /** Strides to the next port, drawn from their chances. */
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
 * One wait: attempts from a cold start until the walk gives out the port, that attempt included; null when
 * `most` were not enough. At a given rate a walk with a salt starts anew every so many attempts.
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

/** The wait for one port in closed form. */
export interface Wait {
  /** The chance that one attempt is given the port. */
  readonly chancePerAttempt: number;
  readonly mean: number;
  /** The chance that so many attempts are enough. */
  cdf(attempts: number): number;
  /** The attempts that are enough with this chance. */
  quantile(chance: number): number;
}

/** How many phases of the salt's period the closed form averages over: a wait may begin anywhere in it. */
const PHASES = 64;

/**
 * A walk of mean increment m goes round n ports in L = n / m attempts, and each time lands on the port with
 * chance h (1 / m for a single port; more where unusable ports before it lead to it). From a start anywhere,
 * the chance to need more than (k + f) L attempts is (1 - h)^k (1 - h f). A new salt is a new start.
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

/** The chance to need more than so many attempts, and its integral: the mean attempts until then. */
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

/** The chance that a walk, passing over a block of ports, lands in it. */
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

/** A walk that is salted more often than it makes an attempt starts anew with each. */
function attemptsPerSalt({ saltMs }: PortAlgorithm, attemptsPerSecond: number): number {
  return saltMs === null ? Infinity : Math.max(1, (attemptsPerSecond * saltMs) / 1000);
}

/** How many ports the walk goes round, and how many of them lead to this one: itself, and unusable ones before it. */
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

/** Where a falling function comes down to a value, by doubling and halving. */
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
