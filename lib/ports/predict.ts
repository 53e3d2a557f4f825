/** Whether, and after how many attempts, the kernel picks the peer's port as the local one. */
import os from "node:os";
import type { PortFacts } from "../kernel/host.ts";
import { isOwnAddress, localAddressTowards, portFacts, sandbox } from "../kernel/host.ts";
import type { Strategy } from "../loop/strategy.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, formatAddress, parseText, unmap } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, portCount } from "../socket/port-range.ts";
import type { PortAlgorithm } from "./algorithms.ts";
import { portAlgorithm, supposeAlgorithm } from "./algorithms.ts";
import { fingerprint } from "./fingerprint.ts";
import type { Method } from "./method.ts";
import type { Wait } from "./model.ts";
import { unusablePorts, waitFor } from "./model.ts";
import { samplePorts } from "./sample.ts";

/** Why a loop can never self-connect, and what to do instead. */
export interface Never {
  readonly reason: "outside-range" | "reserved" | "parity" | "address" | "other-host" | "gvisor";
  readonly because: string;
  readonly instead: string;
}

/**
 * Linux tries every second port (4.2 and later): connect(2) picks the parity of the range's low end while such a
 * port is free, bind(2) with port 0 the other parity (net/ipv4/inet_hashtables.c, inet_connection_sock.c).
 */
const PORT_STEP = 2;
/** Since 5.18 the next attempt starts 1 to 8 steps further (commit ca7af0402550). */
export const MEAN_STEPS = 4.5;

/** The peer of the client, and facts about this host; facts that are not given are observed. */
export interface PredictOptions {
  readonly peer: Address | string;
  /** Default "connect". */
  readonly method?: Method;
  /** How this host picks ports; default: it is observed. */
  readonly algorithm?: PortAlgorithm;
  readonly facts?: PortFacts;
  /** Ports owned by a bind(2): the kernel does not pick them. The peer's port is ignored here. */
  readonly owned?: readonly number[];
}

/** Whether and when a client of this host that keeps reconnecting is joined to itself. */
export interface Prediction {
  readonly peer: Address;
  readonly method: Method;
  readonly algorithm: PortAlgorithm;
  /** How the algorithm is known: given by the caller, observed, or supposed by the release when observing failed. */
  readonly basis: "given" | "observed" | "supposed";
  readonly never: Never | null;
  /**
   * The wait when all clients together make so many attempts per second; null when never, and when this host does not
   * report its ephemeral range, so that nobody can know.
   */
  wait(attemptsPerSecond: number): Wait | null;
}

/** Enough to name the algorithm, in some milliseconds. */
const OBSERVED_ATTEMPTS = 1000;

/** The loop's strategy for each method. */
export const STRATEGY_OF = {
  connect: "fresh",
  bind: "autobind",
  "late-bind": "fresh",
  range: "range",
} as const;

/**
 * getsockname(2) after connect(2) or bind(2): observes how this host picks ports, unless `algorithm` is given, and
 * predicts the wait for the peer's port. Rejects as samplePorts() does.
 */
export async function predict(options: PredictOptions): Promise<Prediction> {
  const { method = "connect", facts = portFacts(), owned = [] } = options;
  const peer = checkAddress(options.peer);
  const never = whyNeverHere(peer, method, facts);
  const { algorithm, basis } = options.algorithm
    ? { algorithm: options.algorithm, basis: "given" as const }
    : await observeAlgorithm(peer, method, never);
  const { ephemeralRange } = facts;
  const unusable = unusablePorts(facts.reservedPorts, owned, peer.port);
  return {
    peer,
    method,
    algorithm,
    basis,
    never,
    wait: (attemptsPerSecond) =>
      never || !ephemeralRange
        ? null
        : waitFor(algorithm, { ephemeralRange, unusable }, peer.port, attemptsPerSecond),
  };
}

async function observeAlgorithm(
  peer: Address,
  method: Method,
  never: Never | null,
): Promise<{ algorithm: PortAlgorithm; basis: Prediction["basis"] }> {
  const isObservable = never?.reason !== "other-host";
  const name = isObservable
    ? fingerprint(await samplePorts({ peer, method, count: OBSERVED_ATTEMPTS })).verdict.name
    : "unknown";
  return name === "unknown"
    ? { algorithm: supposeAlgorithm(method, os.release()), basis: "supposed" }
    : { algorithm: portAlgorithm(name), basis: "observed" };
}

function whyNeverHere(peer: Address, method: Method, facts: PortFacts): Never | null {
  if (!isOwnAddress(peer)) {
    return {
      reason: "other-host",
      because: `${formatAddress(peer)} is not an address of this host, so it cannot be the local address`,
      instead: "nothing: a connect to another host cannot be joined to itself",
    };
  }
  return whyNever(peer, STRATEGY_OF[method], facts);
}

/**
 * Why a loop cannot self-connect. Returns null where it can, or where this host does not report enough to know.
 * `findLocal` reports the local address that a plain connect to the peer gets; by default the kernel is asked.
 */
export function whyNever(
  asked: Address | string,
  strategy: Strategy,
  facts: PortFacts,
  findLocal: (peer: Address) => Address | null = localAddressTowards,
): Never | null {
  if (strategy === "bind") return null;
  const peer = parseText(asked);
  // After bind(2) to the address it is the local one; without bind the route decides.
  const elsewhere = strategy === "autobind" ? null : neverAtAddress(peer, findLocal(peer));
  return elsewhere ?? neverAtPort(peer.port, strategy, facts);
}

/**
 * Mean attempts between two self-connects: the number of usable ports of the peer's parity. Returns null when there
 * is never one, or when the host does not report its range.
 */
export function expectedAttempts(
  asked: Address | string,
  strategy: Strategy,
  facts: PortFacts,
): number | null {
  const peer = parseText(asked);
  if (strategy === "bind" || strategy === "range") return 1;
  if (!facts.ephemeralRange || whyNever(peer, strategy, facts)) return null;
  return portsOfParity(peer.port, facts);
}

/**
 * Mean attempts until the self-connect, when the kernel's walk is at `localPort`. A walk that reaches the peer's port
 * picks it with chance 1 / MEAN_STEPS, and otherwise makes another lap. Returns null if the port is outside the range.
 */
export function expectedRemaining(
  asked: Address | string,
  localPort: number,
  facts: PortFacts,
): number | null {
  const peer = parseText(asked);
  const range = facts.ephemeralRange;
  if (!range || !holds(range, localPort)) return null;
  const size = portCount(range);
  const distance = (((peer.port - localPort) % size) + size) % size;
  const lap = portsOfParity(peer.port, facts) / MEAN_STEPS;
  return distance / PORT_STEP / MEAN_STEPS + (MEAN_STEPS - 1) * lap;
}

function neverAtAddress(peer: Address, local: Address | null): Never | null {
  const { host } = unmap(peer);
  // connect(2) replaces an unspecified peer by loopback.
  if (!local || host === "0.0.0.0" || host === "::" || unmap(local).host === host) return null;
  return {
    reason: "address",
    because: `the kernel picks the local address ${local.host} for connects to ${host}`,
    instead: `use ${formatAddress({ ...local, port: peer.port })}, or strategy bind`,
  };
}

const GVISOR: Never = {
  reason: "gvisor",
  because: "gVisor skips the peer's port when it picks a local one for connect(2)",
  instead: "bind(2) first, to the port or with port 0",
};

function neverAtPort(port: number, strategy: Strategy, facts: PortFacts): Never | null {
  const range = facts.ephemeralRange;
  if (!range) return null;
  if (!holds(range, port)) {
    return {
      reason: "outside-range",
      because: `port ${port} is outside the ephemeral range ${range.low}-${range.high}`,
      instead: `choose a port inside it, or strategy bind (listening outside the range is also the cure)`,
    };
  }
  if (facts.reservedPorts.some((reserved) => holds(reserved, port))) {
    return {
      reason: "reserved",
      because: `port ${port} is in net.ipv4.ip_local_reserved_ports, which the kernel never picks`,
      instead: "choose another port, or strategy bind",
    };
  }
  if (sandbox() === "gvisor") return strategy === "autobind" ? null : GVISOR;
  if (strategy === "range") return null;
  return neverByParity(port, strategy, range);
}

function neverByParity(port: number, strategy: Strategy, range: PortRange): Never | null {
  const isLowParity = (port - range.low) % PORT_STEP === 0;
  const picksLowParity = strategy !== "autobind";
  if (isLowParity === picksLowParity) return null;
  const neighbour = port > range.low ? port - 1 : port + 1;
  const how = picksLowParity ? "connect(2)" : "bind(2) with port 0";
  return {
    reason: "parity",
    because: `${how} picks ${oddOrEven(neighbour)} ports here while one is free, and ${port} is ${oddOrEven(port)}`,
    instead: `choose port ${neighbour}, or strategy ${picksLowParity ? "autobind" : "fresh"}, range or bind`,
  };
}

function portsOfParity(port: number, facts: PortFacts): number {
  const { low, high } = facts.ephemeralRange!;
  let count = 0;
  for (let candidate = low + ((port - low) % PORT_STEP); candidate <= high; candidate += PORT_STEP) {
    if (!facts.reservedPorts.some((reserved) => holds(reserved, candidate))) count++;
  }
  return count;
}

function oddOrEven(port: number): string {
  return port % 2 === 0 ? "even" : "odd";
}
