/** The local ports that one host picked, and the steps between them. Pure. */

/** Local ports in the order in which one host picked them, for one peer or for several in any order. */
export interface Picks {
  /** The local port of each pick, in order. */
  readonly ports: Uint16Array;
  /** The peer of each pick, as an index from 0. */
  readonly peers: Uint32Array;
  /** The time of each pick, in milliseconds; null where unknown: then the picks followed each other quickly. */
  readonly atMs: Float64Array | null;
}

/** The range that the picks show. */
export interface Span {
  readonly low: number;
  readonly high: number;
  readonly isOneParity: boolean;
  /** Ports of a lap. With one parity the other is counted too. */
  readonly size: number;
}

/** Which pick a step is counted from: the last one of the host, or the last one for the same peer. */
export type From = "host" | "peer" | "peer-with-gap";

/** Steps that have in common how many picks of the host they span, and how long they took. */
export interface StepClass {
  readonly gap: number;
  /** Mean share of a salt's 10 s that passed between the two picks: the chance that a new salt came between. */
  salted: number;
  readonly isQuick: boolean;
  /** How often each step was taken; longer ones are counted in `longer`. */
  readonly counts: Map<number, number>;
  longer: number;
  total: number;
}

/** Steps beyond this are not distinguished. */
export const LONGEST_COUNTED = 2048;
/** More picks of the host between two for one peer say nothing about a shared counter. */
export const WIDEST_GAP = 64;
/** Linux draws a new salt this often. */
export const SALT_MS = 10_000;
/** Two picks within this time probably had the same salt. */
export const QUICK_MS = 3000;
const TIME_CLASSES = [100, 1000, QUICK_MS, SALT_MS, Infinity] as const;

export function spanOf(ports: Uint16Array): Span {
  let [low, high, odd] = [65_536, 0, 0];
  for (const port of ports) {
    low = Math.min(low, port);
    high = Math.max(high, port);
    odd += port & 1;
  }
  const isOneParity = odd === 0 || odd === ports.length;
  return { low, high, isOneParity, size: Math.max(2, high - low + (isOneParity ? 2 : 1)) };
}

/** The distance to go upward from one port to another, round the end of the range; a whole lap for the same port. */
export function forward(from: number, to: number, size: number): number {
  return ((((to - from) % size) + size - 1) % size) + 1;
}

/** Counts the steps of the picks by class. Picks without a predecessor, or too far from it, are not among them. */
export function classifySteps(picks: Picks, { size }: Span, from: From): StepClass[] {
  const classes = new Map<number, StepClass>();
  const last = new Map<number, number>();
  for (let index = 0; index < picks.ports.length; index++) {
    const peer = from === "host" ? 0 : picks.peers[index]!;
    const before = last.get(peer);
    last.set(peer, index);
    if (before === undefined) continue;
    const gap = from === "peer-with-gap" ? index - before : 1;
    if (gap > WIDEST_GAP) continue;
    const elapsedMs = picks.atMs ? Math.max(0, picks.atMs[index]! - picks.atMs[before]!) : 0;
    const time = TIME_CLASSES.findIndex((most) => elapsedMs < most);
    const found = classFor(classes, gap, time);
    const step = forward(picks.ports[before]!, picks.ports[index]!, size);
    if (step > LONGEST_COUNTED) found.longer++;
    else found.counts.set(step, (found.counts.get(step) ?? 0) + 1);
    found.total++;
    found.salted += (Math.min(1, elapsedMs / SALT_MS) - found.salted) / found.total;
  }
  return [...classes.values()];
}

function classFor(classes: Map<number, StepClass>, gap: number, time: number): StepClass {
  const key = gap * TIME_CLASSES.length + time;
  const there = classes.get(key);
  if (there) return there;
  const isQuick = TIME_CLASSES[time]! <= QUICK_MS;
  const made: StepClass = { gap, salted: 0, isQuick, counts: new Map(), longer: 0, total: 0 };
  classes.set(key, made);
  return made;
}

/**
 * How many sigmas the picks are from independent ones. In a walk, or several walks mixed, the port just below was
 * used more recently than the port just above; of independent picks each is as likely.
 */
export function orderSigmas(ports: Uint16Array, reach: number): number {
  const lastUse = new Int32Array(65_536 + 2 * reach).fill(-1);
  let [below, above] = [0, 0];
  ports.forEach((port, index) => {
    let [latestBelow, latestAbove] = [-1, -1];
    for (let distance = 1; distance <= reach; distance++) {
      latestBelow = Math.max(latestBelow, lastUse[port + reach - distance]!);
      latestAbove = Math.max(latestAbove, lastUse[port + reach + distance]!);
    }
    if (latestBelow > latestAbove) below++;
    else if (latestAbove > latestBelow) above++;
    lastUse[port + reach] = index;
  });
  return below + above === 0 ? 0 : (below - above) / Math.sqrt(below + above);
}
