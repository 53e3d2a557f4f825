/** The chances of many ports at once, each as if it alone became usable. Pure. */
import type { PortRange } from "../socket/port-range.ts";
import type { PortAlgorithm } from "./algorithms.ts";

/** The ports of one parity in the order of a search, as in searchesOf(). */
interface Pass {
  readonly first: number;
  readonly distance: 1 | 2;
  readonly places: number;
  /** Whether the last port of an odd-sized range is tried in place of the first one after the end. */
  readonly hasLast: boolean;
  readonly isUsable: Uint8Array;
}

/**
 * What pickChance() computes, for algorithms without a step width, in a time that depends on the unusable ports before
 * the port only: it counts the places from which a search finds the port.
 */
export class PickChances {
  readonly #low: number;
  readonly #places: number;
  readonly #passes: readonly Pass[];
  /** The places from which the search of the first pass finds nothing. */
  readonly #failing: Uint8Array;

  constructor(
    { stride, parity }: Pick<PortAlgorithm, "stride" | "parity">,
    { low, high }: PortRange,
    unusable: readonly PortRange[],
  ) {
    const size = high - low + 1;
    const isUsable = new Uint8Array(size + 1).fill(1);
    isUsable[size] = 0;
    for (const range of unusable) {
      isUsable.fill(0, Math.max(0, range.low - low), Math.max(0, Math.min(size, range.high - low + 1)));
    }
    const isWhole = stride === 1 || size === 1;
    this.#low = low;
    this.#places = isWhole ? size : size >> 1;
    const passOf = (first: number, distance: 1 | 2): Pass => {
      const hasLast = distance === 2 && first === 0 && size % 2 === 1;
      return { first, distance, places: this.#places, hasLast, isUsable };
    };
    const ofParity = [passOf(0, 2), passOf(1, 2)];
    this.#passes = isWhole ? [passOf(0, 1)] : parity === "other" ? ofParity.reverse() : ofParity;
    this.#failing = failingPlaces(this.#passes[0]!);
  }

  /** The probability that a search from a random place finds the port, which is usable then. */
  of(port: number): number {
    for (const [index, pass] of this.#passes.entries()) {
      const position = this.#positionIn(pass, port);
      if (position === null) continue;
      const starts = placesBefore(pass, position);
      // The second pass follows when the first one finds nothing.
      const count = index === 0 ? starts.length : starts.filter((place) => this.#failing[place] === 1).length;
      return count / this.#places;
    }
    return 0;
  }

  /**
   * What the wait for a port depends on besides the range: two ports with the same neighbourhood have the same wait,
   * but for a few percent (for less than a factor of two where most of the ports are unusable). Null for a port of the
   * second pass, and near the end of the range.
   */
  neighbourhood(port: number): string | null {
    const pass = this.#passes[0]!;
    const position = this.#positionIn(pass, port);
    return position === null ? null : neighbourhoodOf(pass, position);
  }

  #positionIn({ first, distance, places, hasLast }: Pass, port: number): number | null {
    const position = (port - this.#low - first) / distance;
    const isInside = Number.isInteger(position) && position >= 0 && position < places + (hasLast ? 1 : 0);
    return isInside ? position : null;
  }
}

/** How far a walk can step over ports: the longest increment of linux-5.18. */
const LONGEST_STEP = 8;
/** Longer runs of unusable ports are distinguished by this many lengths in each doubling. */
const LENGTHS_PER_DOUBLING = 4;

/** Which places before the position are usable, from the nearest usable one on; the length of the run before that. */
function neighbourhoodOf(pass: Pass, position: number): string | null {
  const { places } = pass;
  // After the last port of an odd-sized range, a search continues in a way of its own.
  if (position >= places - 1 || places <= LONGEST_STEP) return null;
  const isUsableBefore = (steps: number) => isUsableAt(pass, (position - steps + 2 * places) % places);
  let run = 0;
  while (run < places && !isUsableBefore(run + 1)) run++;
  const before = Array.from({ length: LONGEST_STEP }, (_, index) => Number(isUsableBefore(run + 1 + index)));
  const length = run < LONGEST_STEP ? run : `${Math.floor(Math.log2(run) * LENGTHS_PER_DOUBLING)}+`;
  return `${length} ${before.join("")}`;
}

function isUsableAt({ isUsable, first, distance }: Pass, position: number): boolean {
  return isUsable[first + distance * position] === 1;
}

/** The places from which a search gets to the position without finding another port. */
function placesBefore(pass: Pass, position: number): number[] {
  const { places, hasLast } = pass;
  const starts: number[] = [];
  const isLast = position === places;
  if (!isLast) starts.push(position);
  const least = isLast ? 1 : 0;
  let place = position - 1;
  for (; place >= least && !isUsableAt(pass, place); place--) starts.push(place);
  if (isLast) return starts;
  // Searches that began behind the position pass the end. They continue at the first port, or at the last, then the
  // second.
  const isFromEnd = hasLast ? position > 0 && place < 1 && !isUsableAt(pass, places) : place < 0;
  if (!isFromEnd) return starts;
  for (place = places - 1; place > position && !isUsableAt(pass, place); place--) starts.push(place);
  return starts;
}

function failingPlaces(pass: Pass): Uint8Array {
  const { places, hasLast } = pass;
  const finds = (from: number, to: number) => {
    for (let position = from; position <= to; position++) if (isUsableAt(pass, position)) return true;
    return false;
  };
  const failing = new Uint8Array(places);
  const fromFirst = finds(0, places - 1);
  const fromOthers = hasLast ? finds(1, places) : fromFirst;
  return failing.fill(fromOthers ? 0 : 1).fill(fromFirst ? 0 : 1, 0, 1);
}
