/** A long walk, lap by lap: the distribution of the attempts until it picks a port, or passes over it. Pure. */
import type { Chain } from "./chain.ts";

/** Values below this are taken for zero. */
const TINY = 1e-13;
/** The walk has ended when its probability is below this. */
const NEGLIGIBLE = 1e-8;
const MOST_LAPS = 400;
/** From the second lap on, time is counted in this many bins for each lap: a lap has thousands of attempts. */
const BINS = 2048;
/** The longest time that a table covers, in attempts. */
const LONGEST = 1 << 21;

/**
 * The times from one place: `hit[i]` is the probability that attempt `low + i` picks the port in this lap, and
 * `miss[i]` that the walk is in its next lap after so many attempts.
 */
interface Row {
  low: number;
  length: number;
  hit: Float64Array;
  miss: Float64Array;
}

/**
 * The walk from a random place. Places are numbered from the one after the port, so that the port is the last of each
 * lap. The probabilities are summed over the places backwards, in one pass. Where a walk enters its next lap no longer
 * depends on where it began the last one, as laps are long; so one lap leads to the next by one distribution.
 */
export class LapDistribution {
  readonly #chain: Chain;
  readonly #most: number;
  readonly #first: number;
  /** Sums over the rows of the places from which a usual move may lead: a running window. */
  readonly #sumHit: Float64Array;
  readonly #sumMiss: Float64Array;
  readonly #rows = new Map<number, Row>();
  readonly #spare: Row[] = [];

  constructor(chain: Chain, most: number) {
    this.#chain = chain;
    this.#first = (chain.own + 1) % chain.places;
    this.#most = Math.min(most, LONGEST);
    const longest = Math.min(this.#most, chain.places) + 2;
    this.#sumHit = new Float64Array(longest);
    this.#sumMiss = new Float64Array(longest);
  }

  /** The probability that 0, 1, 2 … attempts have not picked the port. */
  survivals(): Float64Array {
    const entry = this.#enterNextLap(this.#enterNextLap(null));
    const { first, next } = this.#sumRows(entry);
    return survivalsOf(first, next, this.#most);
  }

  #movesAt(step: number) {
    return this.#chain.moves[(this.#first + step) % this.#chain.places]!;
  }

  #hitAt(step: number): number {
    return this.#chain.hit[(this.#first + step) % this.#chain.places]!;
  }

  /** Where a walk that misses the port begins its next lap. `from` is where it began this one; null is anywhere. */
  #enterNextLap(from: ReadonlyMap<number, number> | null): Map<number, number> {
    const { places } = this.#chain;
    const visits = new Float64Array(places);
    if (from === null) visits.fill(1 / places);
    else for (const [step, chance] of from) visits[step] = chance;
    const entry = new Map<number, number>();
    for (let step = 0; step < places; step++) {
      const mass = visits[step]! * (1 - this.#hitAt(step));
      if (mass === 0) continue;
      const { advances, chances } = this.#movesAt(step);
      advances.forEach((advance, index) => {
        const target = step + advance;
        if (advance === 0) return;
        if (target < places) visits[target]! += mass * chances[index]!;
        else {
          const place = (target - places) % places;
          entry.set(place, (entry.get(place) ?? 0) + mass * chances[index]!);
        }
      });
    }
    const total = [...entry.values()].reduce((sum, chance) => sum + chance, 0);
    return new Map([...entry].map(([step, chance]) => [step, chance / total]));
  }

  /** The rows of all places, as their mean (the first lap), and as the mean over the entries of a later lap. */
  #sumRows(entry: ReadonlyMap<number, number>): { first: Times; next: Times } {
    const { places, usual } = this.#chain;
    const span = usual.advances.length;
    const lastUse = this.#lastUses();
    const first = new Times(this.#sumHit.length);
    const next = new Times(this.#sumHit.length);
    const isRunning = usual.chances.every((chance) => chance === usual.chances[0]);
    for (let step = places - 1; step >= 0; step--) {
      const isUsual = this.#movesAt(step) === usual;
      const row = isUsual && isRunning ? this.#usualRow(step) : this.#rowOf(step);
      first.add(row, 1 / places);
      const chance = entry.get(step);
      if (chance !== undefined) next.add(row, chance);
      this.#rows.set(step, row);
      if (isRunning) {
        this.#addToSums(row, 1);
        const left = this.#rows.get(step + span);
        if (left) this.#addToSums(left, -1);
      }
      for (const gone of lastUse.get(step) ?? []) this.#drop(gone);
    }
    return { first, next };
  }

  /** For each step the rows that no later one, which is a lower one, needs. */
  #lastUses(): Map<number, number[]> {
    const { places, usual } = this.#chain;
    const span = usual.advances.length;
    const lowest = new Int32Array(places);
    for (let step = 0; step < places; step++) lowest[step] = Math.max(0, step - span);
    for (let step = places - 1; step >= 0; step--) {
      const moves = this.#movesAt(step);
      if (moves === usual) continue;
      for (const advance of moves.advances) {
        const target = step + advance;
        if (target < places) lowest[target] = Math.min(lowest[target]!, step);
      }
    }
    const uses = new Map<number, number[]>();
    lowest.forEach((by, step) => {
      const list = uses.get(by);
      if (list) list.push(step);
      else uses.set(by, [step]);
    });
    return uses;
  }

  #drop(step: number): void {
    const row = this.#rows.get(step);
    this.#rows.delete(step);
    if (row && this.#spare.length < 64) this.#spare.push(row);
  }

  #addToSums({ low, length, hit, miss }: Row, sign: 1 | -1): void {
    const [sumHit, sumMiss] = [this.#sumHit, this.#sumMiss];
    for (let index = 0; index < length; index++) {
      sumHit[low + index]! += sign * hit[index]!;
      sumMiss[low + index]! += sign * miss[index]!;
    }
  }

  /** An empty row for times from `low` up to before `high`. */
  #newRow(low: number, high: number): Row {
    const end = Math.min(high, this.#sumHit.length);
    const length = Math.max(0, end - low);
    const spare = this.#spare.pop();
    if (spare && spare.hit.length >= length) {
      spare.hit.fill(0, 0, length);
      spare.miss.fill(0, 0, length);
      return Object.assign(spare, { low, length });
    }
    const capacity = Math.ceil(length * 1.25) + 16;
    return { low, length, hit: new Float64Array(capacity), miss: new Float64Array(capacity) };
  }

  /** The times from a place with a usable port: the mean of those of the next places, and one attempt more. */
  #usualRow(step: number): Row {
    const { places, usual } = this.#chain;
    const chance = usual.chances[0]!;
    const end = Math.min(places - 1, step + usual.advances.length);
    const { low, high } = this.#windowOf(step + 1, end);
    const row = this.#newRow(low, high);
    const past = step + usual.advances.length - Math.max(places - 1, step);
    const [sumHit, sumMiss] = [this.#sumHit, this.#sumMiss];
    const miss = 1 - this.#hitAt(step);
    for (let index = 0; index < row.length; index++) {
      row.hit[index] = chance * miss * sumHit[low + index - 1]!;
      row.miss[index] = chance * miss * sumMiss[low + index - 1]!;
    }
    this.#finish(row, step, chance * miss * Math.max(0, past));
    return row;
  }

  #windowOf(from: number, to: number): { low: number; high: number } {
    let [low, high] = [Number.POSITIVE_INFINITY, 2];
    for (let step = from; step <= to; step++) {
      const row = this.#rows.get(step)!;
      if (row.length === 0) continue;
      low = Math.min(low, row.low + 1);
      high = Math.max(high, row.low + row.length + 1);
    }
    // The attempt itself may pick the port or pass over it.
    const isNearEnd = to >= this.#chain.places - 1;
    return { low: isNearEnd || low === Number.POSITIVE_INFINITY ? 1 : low, high };
  }

  #rowOf(step: number): Row {
    const { places } = this.#chain;
    const { advances, chances } = this.#movesAt(step);
    const miss = 1 - this.#hitAt(step);
    let [low, high, passing] = [miss < 1 ? 1 : Number.POSITIVE_INFINITY, 2, 0];
    advances.forEach((advance, index) => {
      const row = this.#rows.get(step + advance);
      if (advance > 0 && step + advance >= places) passing += chances[index]! * miss;
      else if (advance > 0 && row && row.length > 0) {
        low = Math.min(low, row.low + 1);
        high = Math.max(high, row.low + row.length + 1);
      }
    });
    if (passing > 0 || low === Number.POSITIVE_INFINITY) low = 1;
    const made = this.#newRow(low, high);
    advances.forEach((advance, index) => {
      const row = step + advance < places && advance > 0 ? this.#rows.get(step + advance) : undefined;
      if (row) addLater(made, row, chances[index]! * miss);
    });
    this.#finish(made, step, passing);
    return made;
  }

  /** Adds what the attempt at the place itself does, and cuts off what is nearly zero. */
  #finish(row: Row, step: number, passing: number): void {
    const hit = this.#hitAt(step);
    if (hit > 0 || passing > 0) {
      row.hit[1 - row.low]! += hit;
      row.miss[1 - row.low]! += passing;
    }
    let [from, to] = [0, row.length];
    while (to > from && row.hit[to - 1]! + row.miss[to - 1]! < TINY) to--;
    while (from < to && row.hit[from]! + row.miss[from]! < TINY) from++;
    if (from > 0) {
      row.hit.copyWithin(0, from, to);
      row.miss.copyWithin(0, from, to);
    }
    row.low += from;
    row.length = to - from;
  }
}

function addLater(to: Row, from: Row, chance: number): void {
  const shift = from.low + 1 - to.low;
  const length = Math.min(from.length, to.length - shift);
  for (let index = 0; index < length; index++) {
    to.hit[shift + index]! += chance * from.hit[index]!;
    to.miss[shift + index]! += chance * from.miss[index]!;
  }
}

/** The times of one lap. */
class Times {
  readonly hit: Float64Array;
  readonly miss: Float64Array;

  constructor(length: number) {
    this.hit = new Float64Array(length);
    this.miss = new Float64Array(length);
  }

  add({ low, length, hit, miss }: Row, weight: number): void {
    for (let index = 0; index < length; index++) {
      this.hit[low + index]! += weight * hit[index]!;
      this.miss[low + index]! += weight * miss[index]!;
    }
  }
}

/** Adds lap after lap, until the port is picked. */
function survivalsOf(first: Times, next: Times, most: number): Float64Array {
  const width = Math.max(1, Math.ceil(lengthOf(first.miss) / BINS));
  const [hit, miss] = [binsOf(next.hit, width), binsOf(next.miss, width)];
  const laps: Bins[] = [];
  let walk = binsOf(first.miss, width);
  for (let lap = 1; lap < MOST_LAPS && walk.total > NEGLIGIBLE && walk.low * width <= most; lap++) {
    laps.push(convolve(walk, hit, width));
    walk = convolve(walk, miss, width);
  }
  const end = Math.max(...laps.map(({ low, values }) => (low + values.length) * width), lengthOf(first.hit));
  const survivals = new Float64Array(Math.min(most, end) + 1);
  for (let time = 1; time < Math.min(survivals.length, first.hit.length); time++)
    survivals[time] = first.hit[time]!;
  for (const { low, values } of laps) {
    values.forEach((value, index) => {
      const from = (low + index) * width;
      for (let time = from; time < from + width && time < survivals.length; time++)
        survivals[time]! += value / width;
    });
  }
  let alive = 1;
  for (let time = 0; time < survivals.length; time++) {
    alive -= survivals[time]!;
    survivals[time] = Math.max(0, alive);
  }
  return survivals;
}

function lengthOf(values: Float64Array): number {
  let length = values.length;
  while (length > 0 && values[length - 1]! < TINY) length--;
  return length;
}

interface Bins {
  readonly low: number;
  readonly values: Float64Array;
  readonly total: number;
}

function binsOf(values: Float64Array, width: number): Bins {
  const bins = new Float64Array(Math.ceil(values.length / width));
  values.forEach((value, time) => {
    bins[Math.floor(time / width)]! += value;
  });
  return trimBins(0, bins);
}

function trimBins(low: number, values: Float64Array): Bins {
  let [from, to] = [0, values.length];
  while (to > from && values[to - 1]! < TINY) to--;
  while (from < to && values[from]! < TINY) from++;
  const kept = values.subarray(from, to);
  return { low: low + from, values: kept, total: kept.reduce((sum, value) => sum + value, 0) };
}

/** A time in a bin is (width - 1) / 2 past its start on average: two of them are half a bin too early together. */
function convolve(one: Bins, other: Bins, width: number): Bins {
  const sum = new Float64Array(one.values.length + other.values.length + 1);
  const late = (width - 1) / (2 * width);
  for (let index = 0; index < one.values.length; index++) {
    const value = one.values[index]!;
    if (value < TINY) continue;
    for (let with_ = 0; with_ < other.values.length; with_++)
      sum[index + with_]! += value * other.values[with_]!;
  }
  if (late > 0)
    for (let index = sum.length - 1; index >= 0; index--) {
      sum[index] = (1 - late) * sum[index]! + late * (sum[index - 1] ?? 0);
    }
  return trimBins(one.low + other.low, sum);
}
