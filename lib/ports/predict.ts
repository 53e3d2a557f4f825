/** Whether, and after how many attempts, the kernel picks the peer's port as the local one. */
import os from "node:os";
import { isOwnAddress, portFacts } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, formatAddress, parseText } from "../socket/address.ts";
import { SocketError } from "../socket/errors.ts";
import { findFreePort } from "../socket/free-port.ts";
import { checkFlags, checkKeys, checkShape } from "../socket/misuse.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, UNPRIVILEGED } from "../socket/port-range.ts";
import type { Strategy } from "../socket/strategy.ts";
import { checkStrategyName } from "../socket/strategy.ts";
import type { PortAlgorithm } from "./algorithms.ts";
import { checkAlgorithm, portAlgorithm, supposeAlgorithm } from "./algorithms.ts";
import { fingerprint } from "./fingerprint.ts";
import type { PortSituation } from "./held.ts";
import { checkSituation, portSituation } from "./held.ts";
import type { Method } from "./method.ts";
import { checkMethod } from "./method.ts";
import type { Wait } from "./model.ts";
import { FULL_SPEED, remainingAttempts, waitFor } from "./model.ts";
import type { NeverReason } from "./never.ts";
import { adviseServer, modelFacts, neverAtAddress, neverAtPort, whyNever } from "./never.ts";
import { samplePorts } from "./sample.ts";
import type { FingerprintVerdict } from "./verdict.ts";

/** The peer of the client, and facts about this host; facts that are not given are observed. */
export interface PredictOptions {
  /** The address that the clients connect to; an address of this host. */
  readonly peer: Address | string;
  /** Default "connect". */
  readonly method?: Method;
  /** How this host picks ports; default: it is observed. */
  readonly algorithm?: PortAlgorithm;
  /** The range, the reserved ports and the sockets that hold ports; default: portSituation() of this host. */
  readonly facts?: PortSituation;
  /** Whether the client sets SO_REUSEADDR before bind(2), as libuv does: for method "bind"; default false. */
  readonly reuseAddress?: boolean;
}

/** Whether and when a client of this host that keeps reconnecting is joined to itself. */
export interface Prediction {
  /** The address that the clients connect to. */
  readonly peer: Address;
  /** How a client gets its local port. */
  readonly method: Method;
  /** How this host picks ports. */
  readonly algorithm: PortAlgorithm;
  /** How the algorithm is known: given by the caller, observed, or supposed by the release when observing failed. */
  readonly basis: "given" | "observed" | "supposed";
  /** The facts that were used. */
  readonly situation: PortSituation;
  /** Held ports on which the prediction depends: it may be another one when a socket there is gone. */
  readonly dependsOn: readonly number[];
  /** Why a self-connect never happens; null when it may. */
  readonly never: NeverReason | null;
  /** How a server on the peer's port is safe. */
  readonly advice: string;
  /**
   * The wait when all clients together make so many attempts per second; null when never, and when this host does not
   * report its ephemeral range, so that nobody can know.
   */
  wait(attemptsPerSecond: number): Wait | null;
}

/** Enough to name the algorithm, in some milliseconds. */
const OBSERVED_ATTEMPTS = 1000;
const NO_PORT = ["EADDRNOTAVAIL", "EADDRINUSE"];

/** The loop's strategy for each method. */
const STRATEGY_OF = {
  connect: "fresh",
  bind: "autobind",
  "late-bind": "fresh",
  range: "range",
} as const;
/** The method by which a strategy of the loop gets its local ports. */
export const METHOD_OF: Readonly<Record<Strategy, Method>> = {
  fresh: "connect",
  reuse: "connect",
  autobind: "bind",
  bind: "bind",
  range: "range",
};

/**
 * getsockname(2) after connect(2) or bind(2): observes how this host picks ports, unless `algorithm` is given, and
 * predicts the wait for the peer's port. Makes no connection to the peer: a dead port of its host is observed. Rejects
 * as samplePorts() does.
 *
 * @example
 * import { PORT_ALGORITHMS, portSituation, predict } from "selfconnect/ports";
 *
 * const peer = "127.0.0.1:50000";
 * const prediction = await predict({ peer, algorithm: PORT_ALGORITHMS.find(({ name }) => name === "linux-5.18") });
 * console.log(prediction.never, prediction.wait(1)?.mean > 1000); // null true
 */
export async function predict(options: PredictOptions): Promise<Prediction> {
  checkKeys("predict()", options, ["peer", "method", "algorithm", "facts", "reuseAddress"]);
  checkFlags(options, ["reuseAddress"]);
  const { method = "connect", reuseAddress = false } = options;
  const peer = checkAddress(options.peer);
  checkMethod(method);
  if (options.algorithm) checkAlgorithm(options.algorithm);
  if (options.facts) checkSituation(options.facts);
  const situation = { ...(options.facts ?? portSituation(peer, method)), reuseAddress };
  const isOwn = isOwnAddress(peer);
  const { algorithm, basis } = options.algorithm
    ? { algorithm: options.algorithm, basis: "given" as const }
    : await observeAlgorithm(peer, method, isOwn, situation);
  const never = isOwn ? whyNeverBy(method, peer, situation, algorithm) : otherHostReason(peer);
  const waits = new Map<number, Wait>();
  const facts = modelFacts(situation, peer.port);
  return {
    peer,
    method,
    algorithm,
    basis,
    situation,
    dependsOn: dependsOn(never, STRATEGY_OF[method], peer.port, situation, algorithm),
    never,
    advice: isOwn
      ? adviseServer(peer, situation)
      : "nothing is needed: only its own host can be joined to itself there",
    wait(attemptsPerSecond) {
      if (never || !facts) return null;
      const wait = waits.get(attemptsPerSecond) ?? waitFor(algorithm, facts, peer.port, attemptsPerSecond);
      waits.set(attemptsPerSecond, wait);
      return wait;
    },
  };
}

/** Why the method never gives a client the port; null when it does. */
export function whyNeverBy(
  method: Method,
  peer: Address,
  situation: PortSituation,
  algorithm: PortAlgorithm,
): NeverReason | null {
  // These bind to the peer's address; of the others the route decides.
  const elsewhere = method === "bind" || method === "late-bind" ? null : neverAtAddress(peer);
  if (elsewhere) return { reason: elsewhere.reason, because: elsewhere.because };
  return neverAtPort(peer.port, STRATEGY_OF[method], situation, algorithm);
}

function dependsOn(
  never: NeverReason | null,
  strategy: "fresh" | "autobind" | "range",
  port: number,
  situation: PortSituation,
  algorithm: PortAlgorithm,
): readonly number[] {
  const { heldPorts = [], ephemeralRange } = situation;
  if (heldPorts.length === 0 || !ephemeralRange) return [];
  const isNever = (held: readonly number[]) => {
    return neverAtPort(port, strategy, { ...situation, heldPorts: held }, algorithm) !== null;
  };
  if (never) return isNever([]) ? [] : heldPorts;
  // While a port is free that the kernel prefers, those of the other parity are not even tried.
  const isFirst = algorithm.stride === 1 || !isNever([]);
  return isFirst ? heldPorts.filter((held) => (held - port) % algorithm.stride === 0) : heldPorts;
}

function otherHostReason(peer: Address): NeverReason {
  const because = `${formatAddress(peer)} is not an address of this host, so it cannot be the local address`;
  return { reason: "other-host", because };
}

/** Observes connects to a dead port, because the peer may be a server at work. */
async function observeAlgorithm(
  peer: Address,
  method: Method,
  isOwn: boolean,
  { ephemeralRange }: PortSituation,
): Promise<{ algorithm: PortAlgorithm; basis: Prediction["basis"] }> {
  const supposed = { algorithm: supposeAlgorithm(method, os.release()), basis: "supposed" as const };
  if (!isOwn) return supposed;
  const observed = { ...peer, port: findDeadPort(peer, ephemeralRange) };
  const name = await nameAlgorithm(observed, method);
  if (name === "unknown") return supposed;
  return { algorithm: portAlgorithm(name), basis: "observed" };
}

async function nameAlgorithm(peer: Address, method: Method): Promise<FingerprintVerdict["name"]> {
  try {
    return fingerprint(await samplePorts({ peer, method, count: OBSERVED_ATTEMPTS })).verdict.name;
  } catch (error) {
    // No port is usable.
    if (error instanceof SocketError && NO_PORT.includes(error.code)) return "unknown";
    throw error;
  }
}

/**
 * bind(2), listen(2): finds a port of the peer's host, and not the peer's, where nothing listens; outside the range if
 * one is free there, since what is observed there cannot be a self-connect. Throws ERR_NO_FREE_PORT.
 */
export function findDeadPort(
  near: Address | string,
  range: PortRange | null = portFacts().ephemeralRange,
): number {
  const peer = checkAddress(near);
  if (range !== null) checkShape("findDeadPort() takes a range, { low, high }", range, ["low", "high"]);
  const loopback: Address[] =
    peer.family === 4 ? ["127.0.0.2", "127.0.0.3"].map((host) => ({ ...peer, host })) : [];
  const isOutside = (port: number) => port !== peer.port && !(range && holds(range, port));
  const addresses = [peer, ...loopback];
  try {
    return findFreePort(UNPRIVILEGED, { addresses, isWanted: isOutside });
  } catch {
    return findFreePort(UNPRIVILEGED, { addresses, isWanted: (port) => port !== peer.port });
  }
}

/** What expectedAttempts() assumes by default: the algorithm of this release, at full speed. */
export interface ExpectOptions {
  /** How ports are picked; default: what the kernel's release is known for. */
  readonly algorithm?: PortAlgorithm;
  /** All clients together; default 50,000, which is about what a loop at full speed makes. */
  readonly attemptsPerSecond?: number;
}

/**
 * Mean attempts until a loop's self-connect, as waitFor() computes it. Returns null when there is never one, or when
 * the host does not report its range.
 */
export function expectedAttempts(
  asked: Address | string,
  strategy: Strategy,
  situation: PortSituation,
  options: ExpectOptions = {},
): number | null {
  const peer = checkLoop(asked, strategy, situation);
  checkKeys("expectedAttempts()", options, ["algorithm", "attemptsPerSecond"]);
  const { algorithm = algorithmOf(strategy), attemptsPerSecond = FULL_SPEED } = options;
  checkAlgorithm(algorithm);
  if (strategy === "bind") return 1;
  const facts = modelFacts(situation, peer.port);
  if (!facts || whyNever(peer, strategy, situation)) return null;
  return strategy === "range" ? 1 : waitFor(algorithm, facts, peer.port, attemptsPerSecond).mean;
}

/**
 * Returns a function that computes the mean attempts until the self-connect, when the kernel's walk is at a local port.
 * It returns null for a port outside the range, and when there is never a self-connect or nobody can know.
 */
export function expectedRemaining(
  asked: Address | string,
  strategy: Strategy,
  situation: PortSituation,
): (localPort: number) => number | null {
  const peer = checkLoop(asked, strategy, situation);
  const facts = modelFacts(situation, peer.port);
  if (strategy === "bind" || strategy === "range") return () => 1;
  if (!facts || whyNever(peer, strategy, situation)) return () => null;
  return remainingAttempts(algorithmOf(strategy), facts, peer.port);
}

/**
 * portSituation() for a strategy of the loop. For programs that ask more than one of whyNever(), expectedAttempts() and
 * expectedRemaining(), as `selfconnect reconnect` does: with one situation, all of them are about the same moment.
 */
export function situationFor(peer: Address | string, strategy: Strategy): PortSituation {
  checkStrategyName(strategy);
  return portSituation(peer, METHOD_OF[strategy]);
}

function checkLoop(asked: Address | string, strategy: Strategy, situation: PortSituation): Address {
  const peer = parseText(asked);
  checkStrategyName(strategy);
  checkSituation(situation);
  return peer;
}

function algorithmOf(strategy: Strategy): PortAlgorithm {
  return supposeAlgorithm(METHOD_OF[strategy], os.release());
}
