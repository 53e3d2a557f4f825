/** How long a walk needs from a random place to a port, between two salts: the distribution over its states. Pure. */
import type { Chain, Moves } from "./chain.ts";
import { LapDistribution } from "./laps.ts";

/** The wait from a random place, while no new salt moves the walk. */
export interface WalkSegment {
  /** The probability that so many attempts, a whole number, have not picked the port. */
  survival(attempts: number): number;
  /** The mean number of attempts made when at most so many are. */
  area(attempts: number): number;
}

/** Multiplications that take about a tenth of a second. */
const AFFORDABLE = 6e7;
/** Below this probability a wait is over. */
const NEGLIGIBLE = 1e-9;

/**
 * Computes the segment up to `most` attempts. Where it is affordable, iterates over all places attempt by attempt,
 * which is exact; else over all places lap by lap.
 */
export function segmentOf(chain: Chain, most: number): WalkSegment {
  const advances = chain.usual.advances.length;
  const needed = Math.min(most, 24 * chain.places);
  const cost = needed * chain.places * advances;
  return tabulate(cost <= AFFORDABLE ? iterate(chain, needed) : new LapDistribution(chain, most).survivals());
}

/** Moves the whole distribution over the places one attempt at a time. */
function iterate({ places, hit, moves }: Chain, most: number): Float64Array {
  let now: Float64Array = new Float64Array(places).fill(1 / places);
  let next = new Float64Array(places);
  const survivals = [1];
  for (let alive = 1; survivals.length <= most && alive > NEGLIGIBLE; ) {
    next.fill(0);
    alive = 0;
    for (let place = 0; place < places; place++) {
      const mass = now[place]! * (1 - hit[place]!);
      if (mass === 0) continue;
      alive += mass;
      spread(next, place, mass, moves[place]!);
    }
    survivals.push(alive);
    [now, next] = [next, now as Float64Array<ArrayBuffer>];
  }
  return Float64Array.from(survivals);
}

function spread(to: Float64Array, place: number, mass: number, { advances, chances }: Moves): void {
  for (let index = 0; index < advances.length; index++) {
    let target = place + advances[index]!;
    if (target >= to.length) target %= to.length;
    to[target]! += mass * chances[index]!;
  }
}

/** Beyond the table the survival falls by the same factor for each attempt as it did in the table's second half. */
function tabulate(survivals: Float64Array): WalkSegment {
  const last = survivals.length - 1;
  const sums = new Float64Array(last + 1);
  for (let index = 1; index <= last; index++) sums[index] = sums[index - 1]! + survivals[index - 1]!;
  const end = survivals[last]!;
  const half = last >> 1;
  const factor = end <= 0 || last === 0 ? 0 : Math.min(1, (end / survivals[half]!) ** (1 / (last - half)));
  const beyond = (attempts: number) => end * factor ** (attempts - last);
  return {
    survival: (attempts) => (attempts <= last ? survivals[attempts]! : beyond(attempts)),
    area(attempts) {
      if (attempts <= last) return sums[attempts]!;
      if (end === 0) return sums[last]!;
      const more = factor === 1 ? attempts - last : (1 - factor ** (attempts - last)) / (1 - factor);
      return sums[last]! + end * more;
    },
  };
}
