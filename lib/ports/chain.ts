/** The kernel's walk as a Markov chain: the chance to pick a port at each place, and where each leads. Pure. */
import type { PortAlgorithm } from "./algorithms.ts";
import type { ModelFacts } from "./scan.ts";
import { searchedParts, searchesOf, strideChances } from "./scan.ts";

/** How far an attempt moves the walk, in places, and with which probabilities. */
export interface Moves {
  readonly advances: readonly number[];
  readonly chances: readonly number[];
}

/** The walk of one algorithm in one range, seen from one port. */
export interface Chain {
  readonly places: number;
  /** The probability that an attempt at this place picks the port. */
  readonly hit: Float64Array;
  /** Where an attempt at this place leads when it does not pick the port. */
  readonly moves: readonly Moves[];
  /** The moves of every place whose own port is usable; places with others have a Moves of their own. */
  readonly usual: Moves;
  /** The place of the port itself, at which the walk is cut into laps. */
  readonly own: number;
}

/** No port is usable: the attempt fails with EADDRNOTAVAIL, and the walk stays where it is. */
const STUCK: Moves = { advances: [0], chances: [1] };
/** More strides than this are represented by so many of them: it takes a wide step width and a long block. */
const MOST_STRIDES = 256;

/** Builds the chain of a walk. An algorithm whose picks are independent has none: see pickChance(). */
export function buildChain(algorithm: PortAlgorithm, facts: ModelFacts, port: number): Chain {
  const { low } = facts.ephemeralRange;
  const searches = searchesOf(algorithm, facts.ephemeralRange, facts.unusable);
  const { places } = searches;
  const usual: Moves = {
    advances: algorithm.increments.map((_, index) => index + 1),
    chances: algorithm.increments,
  };
  const strides = limitStrides(strideChances(places, facts.stepWidth ?? 0));
  const hit = new Float64Array(places);
  const moves: Moves[] = new Array(places).fill(usual);
  const shared = new Map<number, Moves>();
  for (let place = 0; place < places; place++) {
    const near = searches.find(place, 1);
    if (near?.tries === 0) {
      if (near.port === port) hit[place] = 1;
      continue;
    }
    const tries = new Map<number, number>();
    for (const [stride, chance] of strides) {
      const found = stride === 1 ? near : searches.find(place, stride);
      if (found?.port === port) hit[place]! += chance;
      else tries.set(found?.tries ?? -1, (tries.get(found?.tries ?? -1) ?? 0) + chance);
    }
    moves[place] = movesAfter(tries, algorithm.increments, shared);
  }
  return { places, hit, moves, usual, own: Math.floor((port - low) / algorithm.stride) % places };
}

/** The moves after an attempt that tried so many ports: past them, or further by the random increment. */
function movesAfter(
  tries: ReadonlyMap<number, number>,
  increments: readonly number[],
  shared: Map<number, Moves>,
): Moves {
  const [only] = tries.keys();
  const known = tries.size === 1 ? shared.get(only!) : undefined;
  if (known) return known;
  const total = [...tries.values()].reduce((sum, chance) => sum + chance, 0);
  const byAdvance = new Map<number, number>();
  for (const [tried, chance] of tries) {
    if (tried < 0) byAdvance.set(0, chance / total);
    else {
      increments.forEach((increment, index) => {
        const advance = Math.max(tried, index) + 1;
        byAdvance.set(advance, (byAdvance.get(advance) ?? 0) + (increment * chance) / total);
      });
    }
  }
  const made =
    byAdvance.size === 0 ? STUCK : { advances: [...byAdvance.keys()], chances: [...byAdvance.values()] };
  if (tries.size === 1) shared.set(only!, made);
  return made;
}

function limitStrides(strides: ReadonlyMap<number, number>): [stride: number, chance: number][] {
  const all = [...strides];
  if (all.length <= MOST_STRIDES) return all;
  const kept = Array.from({ length: MOST_STRIDES }, (_, index) => {
    return all[Math.floor(((index + 0.5) * all.length) / MOST_STRIDES)]!;
  });
  const total = kept.reduce((sum, [, chance]) => sum + chance, 0);
  return kept.map(([stride, chance]) => [stride, chance / total]);
}

/**
 * The probability that an attempt from a random place picks the port: at the first attempt after a new salt, and at
 * every attempt where picks are independent.
 */
export function pickChance(algorithm: PortAlgorithm, facts: ModelFacts, port: number): number {
  if (algorithm.counters !== "none") {
    const { hit, places } = buildChain(algorithm, facts, port);
    return hit.reduce((sum, chance) => sum + chance, 0) / places;
  }
  let [chance, left] = [0, 1];
  for (const part of searchedParts(facts.ephemeralRange, facts.reuseAddress === true)) {
    const searches = searchesOf(algorithm, part, facts.unusable);
    let [hits, failures] = [0, 0];
    for (let place = 0; place < searches.places; place++) {
      const found = searches.find(place, 1);
      if (!found) failures++;
      else if (found.port === port) hits++;
    }
    chance += (left * hits) / searches.places;
    left *= failures / searches.places;
  }
  return chance;
}

/** The ports that the walk picks from one place or another. */
export function pickablePorts(algorithm: PortAlgorithm, facts: ModelFacts): Set<number> {
  const ports = new Set<number>();
  const isHalved = algorithm.counters === "none" && facts.reuseAddress === true;
  for (const part of searchedParts(facts.ephemeralRange, isHalved)) {
    const searches = searchesOf(algorithm, part, facts.unusable);
    let isCertain = true;
    for (let place = 0; place < searches.places; place++) {
      const found = searches.find(place, 1);
      if (found) ports.add(found.port);
      else isCertain = false;
    }
    if (isCertain) break;
  }
  return ports;
}
