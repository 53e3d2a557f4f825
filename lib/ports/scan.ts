/** How Linux searches for a free port from each place where a search can begin. Pure. */
import type { PortRange } from "../socket/port-range.ts";
import type { PortAlgorithm } from "./algorithms.ts";

/** The facts about a host that the model needs. */
export interface ModelFacts {
  /** net.ipv4.ip_local_port_range, or the socket's own range inside it. */
  readonly ephemeralRange: PortRange;
  /** Ports that the kernel never picks: reserved ports, and those that sockets hold. */
  readonly unusable: readonly PortRange[];
  /** net.ipv4.ip_local_port_step_width (7.1 and later): the longest random stride over unusable ports; default 0. */
  readonly stepWidth?: number;
  /** SO_REUSEADDR before bind(2) with port 0: the kernel searches the lower half of the range first. */
  readonly reuseAddress?: boolean;
}

/** A port that a search found, and how many unusable ports it tried before. */
export interface Found {
  readonly port: number;
  readonly tries: number;
}

/** Every search that the kernel can make in one range: its places, and what a search from each finds. */
export interface Searches {
  /** How many places a search can begin at. */
  readonly places: number;
  /** What a search from this place finds, with strides of so many places; null when it finds no usable port. */
  find(place: number, stride: number): Found | null;
}

/** The range cut in the parts that bind(2) searches one after the other; connect(2) searches the whole. */
export function searchedParts({ low, high }: PortRange, isHalved: boolean): PortRange[] {
  const size = high - low + 1;
  if (!isHalved || size < 4) return [{ low, high }];
  const half = low + ((size >> 2) << 1);
  return [
    { low, high: half - 1 },
    { low: half, high },
  ];
}

/**
 * `__inet_hash_connect` (net/ipv4/inet_hashtables.c), `inet_csk_find_open_port` (net/ipv4/inet_connection_sock.c): a
 * search with strides of two covers the ports of one parity, then those of the other. It counts places in the range
 * cut to an even length, but continues at the low end only after the last port of the whole range. So the last port of
 * an odd-sized range is tried in place of the first one, by searches that pass the end and did not begin at the first.
 */
export function searchesOf(
  { stride, parity }: Pick<PortAlgorithm, "stride" | "parity">,
  { low, high }: PortRange,
  unusable: readonly PortRange[],
): Searches {
  const size = high - low + 1;
  const isUsable = markUsable(low, size, unusable);
  if (stride === 1 || size === 1) return { places: size, find: passOf(isUsable, low, size, 1, 0, false) };
  const places = size >> 1;
  const ofParity = (first: 0 | 1) => passOf(isUsable, low, places, 2, first, first === 0 && size % 2 === 1);
  const [one, other] = parity === "other" ? [ofParity(1), ofParity(0)] : [ofParity(0), ofParity(1)];
  return { places, find: (place, by) => one(place, by) ?? other(place, by) };
}

function markUsable(low: number, size: number, unusable: readonly PortRange[]): Uint8Array {
  const isUsable = new Uint8Array(size).fill(1);
  for (const range of unusable) {
    const end = Math.min(range.high - low + 1, size);
    if (end > 0) isUsable.fill(0, Math.max(0, range.low - low), end);
  }
  return isUsable;
}

/** The search over the ports of one parity, or over all ports. */
function passOf(
  isUsable: Uint8Array,
  low: number,
  places: number,
  distance: number,
  first: number,
  hasLast: boolean,
): Searches["find"] {
  const isFree = (place: number) => isUsable[first + distance * place] === 1;
  // The distance to the next free place up to the end of the range; `places` when there is none.
  const ahead = new Int32Array(places + 1).fill(places);
  for (let place = places - 1; place >= 0; place--) {
    ahead[place] = isFree(place) ? 0 : Math.min(places, ahead[place + 1]! + 1);
  }
  const portOf = (place: number) => low + first + distance * place;
  const atStart = hasLast ? isFree(places) : isFree(0);
  return (place, stride) => {
    if (stride !== 1) return findByStrides(place, stride, places, hasLast, isFree, portOf);
    const tries = ahead[place]!;
    if (place + tries < places) return { port: portOf(place + tries), tries };
    if (place === 0) return null;
    if (atStart) return { port: portOf(hasLast ? places : 0), tries: places - place };
    const next = places > 1 ? 1 + ahead[1]! : places;
    return next < place ? { port: portOf(next), tries: places - place + next } : null;
  };
}

function findByStrides(
  start: number,
  stride: number,
  places: number,
  hasLast: boolean,
  isFree: (place: number) => boolean,
  portOf: (place: number) => number,
): Found | null {
  // With an odd-sized range the last port is still below the end, and its place is that of the first port.
  const end = hasLast ? places + 1 : places;
  let place = start;
  for (let tries = 0; tries < places; tries++, place += stride) {
    if (place >= end) place -= places;
    if (isFree(place)) return { port: portOf(place), tries };
  }
  return null;
}

/**
 * The strides of a search with net.ipv4.ip_local_port_step_width, and the probability of each: a random number up to
 * the width, raised to the next one that has no factor in common with the number of places, or else 1.
 */
export function strideChances(places: number, width: number): ReadonlyMap<number, number> {
  if (width === 0 || places <= 1) return new Map([[1, 1]]);
  const most = Math.min(places, width);
  const chances = new Map<number, number>();
  let next = 1;
  for (let drawn = most; drawn >= 1; drawn--) {
    if (gcd(drawn, places) === 1) next = drawn;
    chances.set(next, (chances.get(next) ?? 0) + 1 / most);
  }
  return chances;
}

function gcd(one: number, other: number): number {
  return other === 0 ? one : gcd(other, one % other);
}
