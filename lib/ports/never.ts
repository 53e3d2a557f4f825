/** Why the kernel never gives a client the peer's port, and advice that is checked before it is given. */
import { findSandbox, localAddressTowards } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress, parseText, unmap } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds } from "../socket/port-range.ts";
import { isUnspecified } from "../socket/self-connect.ts";
import type { Strategy } from "../socket/strategy.ts";
import { checkStrategyName } from "../socket/strategy.ts";
import type { PortAlgorithm } from "./algorithms.ts";
import { portAlgorithm } from "./algorithms.ts";
import { pickChance } from "./chain.ts";
import type { PortSituation } from "./held.ts";
import { checkSituation } from "./held.ts";
import type { ModelFacts } from "./scan.ts";

/** Why a client is never joined to itself. */
export interface NeverReason {
  /** Which rule of the kernel forbids it. */
  readonly reason:
    | "outside-range"
    | "reserved"
    | "held"
    | "parity"
    | "last-port"
    | "upper-half"
    | "address"
    | "other-host"
    | "gvisor";
  /** The same as a clause, with this host's numbers. */
  readonly because: string;
}

/** Why a loop can never self-connect, and how a loop can that is to. */
export interface Never extends NeverReason {
  /** What to do for a self-connect to happen; a sentence. */
  readonly instead: string;
}

/** The algorithm that decides for a strategy; for "range", whose range is one port, and "bind" none does. */
const ALGORITHM_OF: Readonly<Partial<Record<Strategy, PortAlgorithm>>> = {
  fresh: portAlgorithm("linux-5.18"),
  reuse: portAlgorithm("linux-5.18"),
  autobind: portAlgorithm("linux-bind"),
};
const OTHER_STRATEGIES: readonly Strategy[] = ["fresh", "autobind", "range", "bind"];
/** Ports this near are tried for advice. */
const NEAR = 8;

/**
 * Why a loop cannot self-connect. Returns null where it can, or where this host does not report enough to know. Throws
 * ERR_INVALID_ADDRESS and ERR_UNKNOWN_STRATEGY, and for a situation with a misspelt key ERR_UNKNOWN_OPTION.
 */
export function whyNever(
  asked: Address | string,
  strategy: Strategy,
  situation: PortSituation,
): Never | null {
  const peer = parseText(asked);
  checkStrategyName(strategy);
  checkSituation(situation);
  if (strategy === "bind") return null;
  // After bind(2) to the address it is the local one; without bind the route decides.
  const elsewhere = strategy === "autobind" ? null : neverAtAddress(peer, localAddressTowards(peer));
  if (elsewhere) return elsewhere;
  const reason = neverAtPort(peer.port, strategy, situation);
  return reason && { ...reason, instead: adviseLoop(peer.port, strategy, reason, situation) };
}

/** Why the kernel never picks the port by this strategy, or by the algorithm where one is given. */
export function neverAtPort(
  port: number,
  strategy: Exclude<Strategy, "bind">,
  situation: PortSituation,
  algorithm: PortAlgorithm | undefined = ALGORITHM_OF[strategy],
): NeverReason | null {
  const range = situation.ephemeralRange;
  const bySettings = neverBySettings(port, strategy, situation);
  if (bySettings || !algorithm || !range) return bySettings;
  const model = modelFacts(situation, port)!;
  return pickChance(algorithm, model, port) > 0 ? null : explainUnreachable(port, algorithm, range);
}

/** Why no client gets the port by this strategy, whichever ports are free: the range, reserved ports, a holder. */
export function neverBySettings(
  port: number,
  strategy: Exclude<Strategy, "bind">,
  { ephemeralRange: range, reservedPorts, keeper }: PortSituation,
): NeverReason | null {
  if (!range) return null;
  if (!holds(range, port)) {
    const because = `port ${port} is outside the ephemeral range ${range.low}-${range.high}`;
    return { reason: "outside-range", because };
  }
  if (reservedPorts.some((reserved) => holds(reserved, port))) {
    const because = `port ${port} is in net.ipv4.ip_local_reserved_ports, which the kernel never picks`;
    return { reason: "reserved", because };
  }
  if (findSandbox() === "gvisor" && strategy !== "autobind") {
    const because = "gVisor skips the peer's port when it picks a local one for connect(2)";
    return { reason: "gvisor", because };
  }
  return keeper ? { reason: "held", because: `${keeper} keeps port ${port} from the kernel's choice` } : null;
}

/** What the model needs of a situation, when the port itself is free; null when the range is not known. */
export function modelFacts(situation: PortSituation, port: number): ModelFacts | null {
  const { ephemeralRange, reservedPorts, heldPorts = [], stepWidth = 0, reuseAddress = false } = situation;
  if (!ephemeralRange) return null;
  const held = heldPorts.filter((other) => other !== port).map((other) => ({ low: other, high: other }));
  return { ephemeralRange, unusable: [...reservedPorts, ...held], stepWidth, reuseAddress };
}

/** Why no search finds a usable port: each finds another one first. */
export function explainUnreachable(
  port: number,
  algorithm: PortAlgorithm,
  { low, high }: PortRange,
): NeverReason {
  const how = algorithm.counters === "none" ? "bind(2) with port 0" : "connect(2)";
  const isFirstParity = ((port - low) % 2 === 0) === (algorithm.parity === "low");
  if (!isFirstParity) {
    const parity = oddOrEven(port + 1);
    const because = `${how} picks ${parity} ports here while one is free, and ${port} is ${oddOrEven(port)}`;
    return { reason: "parity", because };
  }
  if (algorithm.counters === "none") {
    const because = `${how} and SO_REUSEADDR picks from the lower half of the range while a port is free there`;
    return { reason: "upper-half", because };
  }
  const because = `${how} tries the last port of ${low}-${high} only after an unusable one before it`;
  return { reason: "last-port", because: port - 2 < low ? because : `${because}, and ${port - 2} is usable` };
}

function oddOrEven(port: number): string {
  return port % 2 === 0 ? "even" : "odd";
}

/** Why a plain connect to the peer never comes from its address; null when it does. */
export function neverAtAddress(
  peer: Address,
  local: Address | null = localAddressTowards(peer),
): Never | null {
  const { host } = unmap(peer);
  // connect(2) replaces an unspecified peer by loopback.
  if (!local || isUnspecified(peer) || unmap(local).host === host) return null;
  return {
    reason: "address",
    because: `the kernel picks the local address ${local.host} for connects to ${host}`,
    instead: `use ${formatAddress({ ...local, port: peer.port })}, or strategy bind`,
  };
}

/** How a loop can self-connect: a port or a strategy for which the same question has another answer. */
function adviseLoop(
  port: number,
  strategy: Exclude<Strategy, "bind">,
  { reason }: NeverReason,
  situation: PortSituation,
): string {
  const works = (one: number, by: Strategy) => {
    const asked = one === port ? situation : { ...situation, keeper: null };
    const isFree = one === port || !situation.heldPorts?.includes(one);
    return isFree && (by === "bind" || neverAtPort(one, by, asked) === null);
  };
  const near =
    reason === "parity" || reason === "last-port" ? nearbyPorts(port, situation.ephemeralRange!) : [];
  const other = near.find((one) => works(one, strategy));
  const others = reason === "held" ? [] : OTHER_STRATEGIES.filter((by) => by !== strategy && works(port, by));
  const advice = [
    ...(other === undefined ? [] : [`choose port ${other}`]),
    ...(reason === "outside-range" || reason === "reserved" ? ["choose another port"] : []),
    ...(reason === "held" ? ["close that socket, or choose another port"] : []),
  ];
  if (others.length > 0) advice.push(`strategy ${formatChoice(others)}`);
  return advice.join(", or ");
}

function nearbyPorts(port: number, range: PortRange): number[] {
  const near = Array.from({ length: NEAR }, (_, index) => [port - 1 - index, port + 1 + index]).flat();
  return near.filter((one) => holds(range, one));
}

function formatChoice(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/**
 * What keeps a server's port safe from clients that do not bind to it: given only where the kernel picks that port
 * neither at connect(2) nor at bind(2) with port 0.
 */
export function adviseServer(peer: Address, situation: PortSituation): string {
  const { ephemeralRange: range } = situation;
  if (!range) return "reserve the port, or listen outside the ephemeral range";
  const isSafe = (port: number, more: Partial<PortSituation> = {}) => {
    const asked = { ...situation, keeper: null, ...more };
    return (["fresh", "autobind", "range"] as const).every((by) => neverAtPort(port, by, asked) !== null);
  };
  if (isSafe(peer.port))
    return "nothing is needed: no client of this host gets the port unless it binds to it";
  const advice = [`reserve port ${peer.port} (net.ipv4.ip_local_reserved_ports)`];
  const below = Math.max(1024, range.low - 1);
  const outside = holds(range, below) ? range.high + 1 : below;
  if (outside <= 65_535 && isSafe(outside)) {
    advice.push(`listen outside ${range.low}-${range.high}, on port ${outside} for example`);
  }
  return advice.join(", or ");
}
