/** Judges one port: whether the kernel can give it to a client that connects to it. */
import type { PortFacts } from "../kernel/host.ts";
import type { PortAlgorithm } from "../ports/algorithms.ts";
import { portAlgorithm } from "../ports/algorithms.ts";
import { FULL_SPEED, unusablePorts, waitFor } from "../ports/model.ts";
import type { Never } from "../ports/predict.ts";
import { whyNever } from "../ports/predict.ts";
import type { Address } from "../socket/address.ts";
import { unmap } from "../socket/address.ts";
import { holds } from "../socket/port-range.ts";

/** Whether clients of this host can be joined to themselves at a port on which nobody listens. */
export type Risk =
  /** A plain connect(2) can get the port. */
  | "at-risk"
  /** Only a client that calls bind(2) first, with port 0, can get it: Node's localAddress, Python's source_address. */
  | "bind-first"
  /** Another process holds the port too, and keeps it from the kernel while it does. */
  | "held"
  /** The kernel never picks the port. */
  | "safe"
  /** This host does not report its ephemeral range. */
  | "unknown";

/** The judgement of one port, and the reasons. */
export interface PortRisk {
  readonly risk: Risk;
  /** Why the kernel never picks the port for a plain connect; null when it does, and when that is unknown. */
  readonly never: Never | null;
  /**
   * Mean time in milliseconds until one client is joined to itself; null unless the risk is at-risk or bind-first. With
   * SO_REUSEADDR, which Node sets, bind(2) takes the lower half of the range first: half the time there.
   */
  readonly meanMs: { readonly everySecond: number; readonly fullSpeed: number } | null;
}

/** What the judgement depends on, the same for all ports of a network namespace. */
export interface Situation {
  readonly facts: PortFacts;
  /** How the kernel picks ports at connect(2). */
  readonly algorithm: PortAlgorithm;
  /** Ports with a socket that bind(2) put there: the kernel picks none of them. */
  readonly heldPorts: ReadonlySet<number>;
  /** The local address that a plain connect to the peer gets. */
  readonly findLocal: (peer: Address) => Address | null;
}

const WILDCARDS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
/** Reasons that hold for a plain connect, and not for a client that binds to the peer's address first. */
const PLAIN_ONLY: readonly Never["reason"][] = ["parity", "address", "gvisor"];

/** Judges the port of a listener, or of a server that may listen on this address. `isHeld`: by another process too. */
export function assessPort(local: Address, isHeld: boolean, situation: Situation): PortRisk {
  const { facts, findLocal } = situation;
  if (facts.ephemeralRange === null) return { risk: "unknown", never: null, meanMs: null };
  const peer = clientPeer(local);
  const plain = whyNever(peer, "fresh", facts, findLocal);
  // Parity is no protection where the kernel has no port of the first parity to pick.
  const never = plain?.reason === "parity" && !hasFirstParity(situation) ? null : plain;
  if (never && !PLAIN_ONLY.includes(never.reason)) return { risk: "safe", never, meanMs: null };
  if (isHeld) return { risk: "held", never, meanMs: null };
  const isByBind = never !== null && whyNever(peer, "autobind", facts, findLocal) === null;
  const algorithm = isByBind ? portAlgorithm("linux-bind") : situation.algorithm;
  const meanMs = meanTimes(peer.port, algorithm, situation);
  return { risk: never === null ? "at-risk" : "bind-first", never, meanMs };
}

/** The address to which a client of this host connects to reach the listener. */
function clientPeer(local: Address): Address {
  const bare = unmap(local);
  return { ...bare, host: WILDCARDS[bare.host] ?? bare.host };
}

function hasFirstParity({ facts, heldPorts }: Situation): boolean {
  const { low, high } = facts.ephemeralRange!;
  for (let port = low; port <= high; port += 2) {
    if (!heldPorts.has(port) && !facts.reservedPorts.some((range) => holds(range, port))) return true;
  }
  return false;
}

/** The risk begins when the listener ends: its port is free then, and the ports of the others are not. */
function meanTimes(
  port: number,
  algorithm: PortAlgorithm,
  { facts, heldPorts }: Situation,
): PortRisk["meanMs"] {
  const unusable = unusablePorts(facts.reservedPorts, [...heldPorts], port);
  const model = { ephemeralRange: facts.ephemeralRange!, unusable };
  const mean = (rate: number) => (waitFor(algorithm, model, port, rate).mean / rate) * 1000;
  return { everySecond: mean(1), fullSpeed: mean(FULL_SPEED) };
}
