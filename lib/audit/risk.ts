/** Judges one port: whether the kernel can give it to a client that connects to it. */
import type { PortFacts } from "../kernel/host.ts";
import type { PortAlgorithm } from "../ports/algorithms.ts";
import { portAlgorithm } from "../ports/algorithms.ts";
import type { PortSituation } from "../ports/held.ts";
import { FULL_SPEED, waitFor } from "../ports/model.ts";
import type { Never } from "../ports/never.ts";
import { modelFacts, neverAtPort, whyNeverFrom } from "../ports/never.ts";
import type { Address } from "../socket/address.ts";
import { specify } from "../socket/self-connect.ts";

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

/** Reasons that hold for a plain connect, and not for a client that binds to the peer's address first. */
const PLAIN_ONLY: readonly Never["reason"][] = ["parity", "last-port", "address", "gvisor"];
/** Among them those that do not hold for a client that binds late: to the peer's address, without a port. */
const LATE_BIND: readonly Never["reason"][] = ["address"];

/** Judges the port of a listener, or of a server that may listen on this address. `isHeld`: by another process too. */
export function assessPort(local: Address, isHeld: boolean, situation: Situation): PortRisk {
  const { facts, findLocal } = situation;
  if (facts.ephemeralRange === null) return { risk: "unknown", never: null, meanMs: null };
  // A client of this host reaches a listener on every address by loopback.
  const peer = specify(local);
  const ports: PortSituation = {
    ...facts,
    heldPorts: [...situation.heldPorts].filter((port) => port !== peer.port),
  };
  const never = whyNeverFrom(peer, "fresh", ports, findLocal);
  if (never && !PLAIN_ONLY.includes(never.reason)) return { risk: "safe", never, meanMs: null };
  if (isHeld) return { risk: "held", never, meanMs: null };
  const isByBind = never !== null && whyNeverFrom(peer, "autobind", ports, findLocal) === null;
  const isByLateBind =
    never !== null && LATE_BIND.includes(never.reason) && neverAtPort(peer.port, "fresh", ports) === null;
  if (never && !isByBind && !isByLateBind) return { risk: "safe", never, meanMs: null };
  const algorithm = isByBind ? portAlgorithm("linux-bind") : situation.algorithm;
  const meanMs = meanTimes(peer.port, algorithm, ports);
  return { risk: never === null ? "at-risk" : "bind-first", never, meanMs };
}

/** The risk begins when the listener ends: its port is free then, and the ports of the others are not. */
function meanTimes(port: number, algorithm: PortAlgorithm, ports: PortSituation): PortRisk["meanMs"] {
  const mean = (rate: number) => {
    return (waitFor(algorithm, modelFacts(ports, port)!, port, rate).mean / rate) * 1000;
  };
  return { everySecond: mean(1), fullSpeed: mean(FULL_SPEED) };
}
