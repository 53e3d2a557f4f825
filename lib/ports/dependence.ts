/** What a walk depends on: the peer's port and host, attempts to other peers, the network namespace. Pure. */
import { quantile } from "../loop/statistics.ts";
import type { Address } from "../socket/address.ts";
import type { NamespacePicks } from "./namespace.ts";
import { forward, spanOf } from "./picks.ts";

/** Whether walks to another port or host start elsewhere, and whether attempts to them advance this walk. */
export interface Dependence {
  /** Whether each port of the peer has a walk of its own; null when not observed. */
  readonly peerPort: boolean | null;
  /** Whether each address of the peer has a walk of its own; null when not observed. */
  readonly peerAddress: boolean | null;
  /** Whether connects to other peers move this walk; null when not observed. */
  readonly otherTraffic: boolean | null;
  /** False where another network namespace continues this one's walk. */
  readonly namespace: boolean | null;
  /** Why `namespace` was not observed; null when it was. */
  readonly whyNoNamespace: string | null;
}

/** The ports from which the dependence is measured. */
export interface WovenPorts {
  readonly ports: Uint16Array;
  /** The peer of each array of the weave; that of the run is the first. */
  readonly peers: readonly Address[];
  readonly weave: readonly Uint16Array[];
  readonly namespaces?: NamespacePicks;
}

/** A walk: its median step, its longest usual step, and the ports of a lap. */
interface Pace {
  readonly median: number;
  readonly longest: number;
  readonly size: number;
}

/** The share of the steps that are usual; the others skip ports in use, or are jumps. */
const USUAL = 0.95;
/** So many ports show the pace of a walk. */
const ENOUGH = 20_000;
/** A walk's steps are at most this share of a lap: in a smaller range the next port may be anywhere. */
const MOST_OF_LAP = 1 / 8;
/** If two walks are neighbours by chance more often than this, that they are neighbours says nothing. */
const MOST_LUCK = 0.01;
/** Ports in use and a weave of several peers make a step longer by such factors. */
const LONGER = 2;
const LONGER_IN_WEAVE = 8;
/** Fewer usual steps in a lap would continue a walk by chance in one round of 100. */
const FEWEST_STEPS_OF_LAP = 64;
const FEWEST_ROUNDS = 2;

/** Measures the dependence; null where the range is too small, or the ports are no walk. */
export function dependenceOf(woven: WovenPorts): Dependence {
  const pace = paceOf(woven);
  return { ...peersOf(woven, pace), ...namespaceOf(woven, pace) };
}

/** The pace of the walk; null where the steps are not short. */
function paceOf({ ports, weave, namespaces }: WovenPorts): Pace | null {
  const all = [ports, ...weave, ...(namespaces?.rounds ?? [])].flatMap((list) => Array.from(spanEnds(list)));
  const { size } = spanOf(Uint16Array.from(all));
  const steps = stepsOf(ports.subarray(0, ENOUGH), size).sort((a, b) => a - b);
  if (steps.length === 0) return null;
  const longest = quantile(steps, USUAL);
  return longest > size * MOST_OF_LAP ? null : { median: quantile(steps, 0.5), longest, size };
}

/** The lowest and the highest port, and one of the other parity where there is one. */
function spanEnds(ports: Uint16Array): number[] {
  if (ports.length === 0) return [];
  const { low, high, isOneParity } = spanOf(ports);
  return isOneParity ? [low, high] : [low, low + 1, high];
}

function stepsOf(ports: Uint16Array, size: number): number[] {
  return Array.from(ports.subarray(1), (port, index) => forward(ports[index]!, port, size));
}

/**
 * The weave makes attempts to every peer in turn. If each peer has its own walk, each starts elsewhere; if they share
 * a counter, the attempts to the others advance it too, so the steps of one peer are larger.
 */
function peersOf(
  { weave, peers }: WovenPorts,
  pace: Pace | null,
): Pick<Dependence, "peerPort" | "peerAddress" | "otherTraffic"> {
  const [first] = weave;
  if (!first || !pace) return { peerPort: null, peerAddress: null, otherTraffic: null };
  const isOtherHost = ({ host }: Address) => host !== peers[0]!.host;
  const compare = (index: number) =>
    index > 0 && weave[index] ? startsElsewhere(first, weave[index], pace, index) : null;
  return {
    peerPort: compare(peers.findIndex((peer) => !isOtherHost(peer) && peer.port !== peers[0]!.port)),
    peerAddress: compare(peers.findIndex(isOtherHost)),
    otherTraffic: isAdvanced(first, weave.length, pace),
  };
}

/** Whether the ports of two peers are no neighbours. `turns`: how many attempts later the second one is made. */
function startsElsewhere(one: Uint16Array, other: Uint16Array, pace: Pace, turns: number): boolean | null {
  const reach = turns * pace.longest;
  const near =
    one.filter((port, round) => forward(port, other[round]!, pace.size) <= reach).length / one.length;
  if (near < 0.5) return true;
  return near > 0.8 && reach / pace.size <= MOST_LUCK ? false : null;
}

/** Whether the attempts to the other peers make the steps of one peer longer. */
function isAdvanced(woven: Uint16Array, peers: number, { median, longest, size }: Pace): boolean | null {
  if (peers < 2 || peers * longest > size / 2) return null;
  const steps = stepsOf(woven, size).sort((a, b) => a - b);
  return quantile(steps, 0.5) > (median * (1 + peers)) / 2;
}

/**
 * A round has a port picked here, many picked in another namespace, and one picked here again. In one walk each is a
 * step from the last. In two walks the last is one step from the first. Neither holds where somebody else connects to
 * the same peer meanwhile.
 */
function namespaceOf(
  { namespaces }: WovenPorts,
  pace: Pace | null,
): Pick<Dependence, "namespace" | "whyNoNamespace"> {
  const notObserved = (whyNoNamespace: string) => ({ namespace: null, whyNoNamespace });
  if (!namespaces) return notObserved("not requested");
  if (namespaces.reason !== null) return notObserved(namespaces.reason);
  if (!pace) return notObserved("there is no walk to continue, or its range is too small");
  const { longest, size } = pace;
  if (size < FEWEST_STEPS_OF_LAP * longest) return notObserved(`the range of ${size} ports is too small`);
  const { rounds } = namespaces;
  const continued = rounds.filter((round) => isOneWalk(round, pace)).length;
  const apart = rounds.filter((round) => forward(round[0]!, round.at(-1)!, size) <= LONGER * longest).length;
  if (continued >= FEWEST_ROUNDS && apart === 0) return { namespace: false, whyNoNamespace: null };
  if (apart >= FEWEST_ROUNDS && continued === 0) return { namespace: true, whyNoNamespace: null };
  return notObserved("somebody else connected to the same peer, or a new salt moved the walk");
}

/** Whether each port is one step from the last, also into the namespace and out of it again. */
function isOneWalk(round: Uint16Array, { longest, size }: Pace): boolean {
  const steps = stepsOf(round, size);
  return steps[0]! <= LONGER * longest && steps.every((step) => step <= LONGER_IN_WEAVE * longest);
}
