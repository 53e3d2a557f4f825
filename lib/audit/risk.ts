/** Judges ports: whether the kernel can give one to a client that connects to it. */
import type { PortFacts } from "../kernel/host.ts";
import { overlaps } from "../kernel/port-holders.ts";
import type { PortAlgorithm } from "../ports/algorithms.ts";
import { portAlgorithm } from "../ports/algorithms.ts";
import { pickChance } from "../ports/chain.ts";
import type { ModelFacts } from "../ports/model.ts";
import { FULL_SPEED, waitFor } from "../ports/model.ts";
import type { NeverReason } from "../ports/never.ts";
import { explainUnreachable, modelFacts, neverAtAddress, neverBySettings } from "../ports/never.ts";
import { PickChances } from "../ports/pick-chances.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress, unmap } from "../socket/address.ts";
import { isUnspecified, specify } from "../socket/self-connect.ts";

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
  /** Whether a client can be given the port as its own. */
  readonly risk: Risk;
  /** Why the kernel never picks the port for a plain connect; null when it does, and when that is unknown. */
  readonly never: NeverReason | null;
  /**
   * Mean time in milliseconds until one client is joined to itself. Null unless the risk is at-risk or bind-first;
   * where the algorithm of connect(2) is unknown; and where the port is reached only if bind(2) put some connections on
   * theirs. With SO_REUSEADDR, which Node sets, bind(2) takes the lower half of the range first: half the time there.
   */
  readonly meanMs: { readonly everySecond: number; readonly fullSpeed: number } | null;
}

/** A socket that bind(2) or a listener put on its port, so that connect(2) picks that port for no client. */
export interface HeldAddress {
  readonly local: Address;
  readonly isV6Only: boolean;
}

/** What the judgement depends on, the same for all ports of a network namespace. */
export interface Situation {
  readonly facts: PortFacts;
  /** How the kernel picks ports at connect(2). */
  readonly algorithm: PortAlgorithm;
  /** Whether this algorithm is more than a guess: without, times of a plain connect are null. */
  readonly isAlgorithmKnown: boolean;
  readonly held: readonly HeldAddress[];
  /** Ports with connections and TIME-WAIT: no table shows whether bind(2) or connect(2) put them there. */
  readonly connectedPorts: ReadonlySet<number>;
  /** net.ipv4.ip_local_port_step_width; 0 where the kernel does not have it. */
  readonly stepWidth: number;
  /** The local address that a plain connect to the peer gets. */
  readonly findLocal: (peer: Address) => Address | null;
}

/** Reasons that hold for a plain connect, and not for a client that binds to the peer's address first. */
const PLAIN_ONLY: readonly NeverReason["reason"][] = ["parity", "last-port", "address", "gvisor", "held"];
/** How the kernel picks a port at bind(2) with port 0. */
const BIND = portAlgorithm("linux-bind");
/** So many computations of the model take a quarter of a second. */
const EXACT_TIMES = 8;
/** The model takes milliseconds for each. */
const MOST_ADDRESSES = 16;
const LOOPBACK: readonly Address[] = ["127.0.0.1", "127.0.0.2"].map((host) => ({ family: 4, host, port: 0 }));
const UNKNOWN: PortRisk = { risk: "unknown", never: null, meanMs: null };

/** What is computed once for all ports of a network namespace: the model takes milliseconds for each port. */
export class RiskAssessor {
  readonly #situation: Situation;
  /** Two of loopback, and each on which a socket holds a port: what bind(2) picks there may be another port. */
  readonly #addresses: readonly Address[];
  readonly #locals = new Map<string, Address | null>();
  readonly #chances = new Map<string, PickChances>();
  readonly #times = new Map<string, NonNullable<PortRisk["meanMs"]>>();

  constructor(situation: Situation) {
    this.#situation = situation;
    const held = situation.held.map(({ local }) => unmap(local)).filter((local) => !isUnspecified(local));
    this.#addresses = [...new Map([...LOOPBACK, ...held].map((one) => [one.host, one])).values()];
  }

  /**
   * Judges the port of a listener, or of a server that may listen on this address. The risk begins when the server
   * ends: its port is free then, unless one of the `others` stays on it, and the ports of other servers are not.
   */
  assess(server: HeldAddress, others: readonly HeldAddress[]): PortRisk {
    const { facts } = this.#situation;
    const range = facts.ephemeralRange;
    if (range === null) return UNKNOWN;
    // A client of this host reaches a listener on every address by loopback.
    const peer = specify(server.local);
    const atPort = this.#neverByConnect(peer.port);
    const free = neverAtAddress(peer, this.#findLocal(peer)) ?? atPort;
    const never = free ?? heldReason(peer.port, others);
    if (never === null) return { risk: "at-risk", never, meanMs: this.#connectTimes(peer.port) };
    if (!PLAIN_ONLY.includes(never.reason)) return { risk: "safe", never, meanMs: null };
    // bind(2) picks a port although a socket on another address has it; connect(2) does not.
    const isByBind = neverBySettings(peer.port, "autobind", facts) === null;
    const addresses = this.#reachedAt(server);
    const isPicked = (address: Address) => isByBind && this.#isPickedByBind(address);
    const open = openAmong(addresses, server, others).find(isPicked);
    if (open) return { risk: "bind-first", never, meanMs: this.#bindTimes(open) };
    // To the peer's address, without a port: connect(2) then picks the port, and no route decides.
    const isByLateBind = never.reason === "address" && atPort === null;
    if (isByLateBind && others.length === 0) {
      return { risk: "bind-first", never, meanMs: this.#connectTimes(peer.port) };
    }
    const isHeld = others.length > 0 && (free === null || isByLateBind || addresses.some(isPicked));
    return { risk: isHeld ? "held" : "safe", never, meanMs: null };
  }

  #neverByConnect(port: number): NeverReason | null {
    const { facts, algorithm } = this.#situation;
    const bySettings = neverBySettings(port, "fresh", facts);
    if (bySettings || this.#connectChance(port) > 0 || this.#connectChance(port, true) > 0) return bySettings;
    return explainUnreachable(port, algorithm, facts.ephemeralRange!);
  }

  #findLocal(peer: Address): Address | null {
    return remember(this.#locals, formatAddress({ ...peer, port: 0 }), () => this.#situation.findLocal(peer));
  }

  /**
   * `isCrowded`: as if connect(2) skipped every port that has a connection. The more ports it skips, the more of the
   * others it reaches, so a port that no search finds then is safe.
   */
  #connectChance(port: number, isCrowded = false): number {
    const { algorithm, held, stepWidth } = this.#situation;
    if (stepWidth > 0) return pickChance(algorithm, this.#modelFacts(port, isCrowded), port);
    const key = isCrowded ? "connect, crowded" : "connect";
    return this.#chancesOf(key, algorithm, () => held, isCrowded).of(port);
  }

  #isPickedByBind(peer: Address): boolean {
    const isPicked = (isCrowded: boolean) =>
      this.#bindChance(peer, isCrowded) > 0 || this.#reuseChance(peer, isCrowded) > 0;
    return isPicked(false) || isPicked(true);
  }

  /** At which clients reach the server: addresses on which sockets hold ports, and one of loopback for all others. */
  #reachedAt(server: HeldAddress): Address[] {
    const first = specify(server.local);
    if (!isUnspecified(server.local)) return [first];
    const addresses = [first, ...this.#addresses].filter((address) => overlapsWith(server, address));
    return addresses.slice(0, MOST_ADDRESSES).map((address) => ({ ...address, port: first.port }));
  }

  #bindChance(peer: Address, isCrowded = false): number {
    const key = `${formatAddress({ ...peer, port: 0 })}${isCrowded ? ", crowded" : ""}`;
    return this.#chancesOf(key, BIND, () => this.#heldAt(peer), isCrowded).of(peer.port);
  }

  /** With SO_REUSEADDR, which searches one half of the range after the other: it finds what a whole search skips. */
  #reuseChance(peer: Address, isCrowded: boolean): number {
    const { facts, connectedPorts } = this.#situation;
    const ports = this.#heldAt(peer).map(({ local }) => local.port);
    const heldPorts = [...ports, ...(isCrowded ? connectedPorts : [])];
    return pickChance(BIND, modelFacts({ ...facts, heldPorts, reuseAddress: true }, peer.port)!, peer.port);
  }

  /** bind(2) skips a port only when the address of its holder overlaps the one to bind to. */
  #heldAt(peer: Address): readonly HeldAddress[] {
    return this.#situation.held.filter((holder) => overlapsWith(holder, peer));
  }

  #chancesOf(
    key: string,
    algorithm: PortAlgorithm,
    held: () => readonly HeldAddress[],
    isCrowded = false,
  ): PickChances {
    const { facts, connectedPorts } = this.#situation;
    return remember(this.#chances, key, () => {
      const ports = [...held().map(({ local }) => local.port), ...(isCrowded ? connectedPorts : [])];
      const unusable = ports.map((port) => ({ low: port, high: port }));
      return new PickChances(algorithm, facts.ephemeralRange!, [...facts.reservedPorts, ...unusable]);
    });
  }

  /** Each pick of bind(2) is independent of the others. */
  #bindTimes(peer: Address): PortRisk["meanMs"] {
    const chance = this.#bindChance(peer);
    if (chance === 0) return null;
    const mean = 1 / chance;
    return { everySecond: toMs(mean, 1), fullSpeed: toMs(mean, FULL_SPEED) };
  }

  /** Exact for the first ports; of many, those with the same neighbourhood share one computation of the model. */
  #connectTimes(port: number): PortRisk["meanMs"] {
    const { algorithm, held, isAlgorithmKnown, stepWidth } = this.#situation;
    if (!isAlgorithmKnown || this.#connectChance(port) === 0) return null;
    const alone = String(port);
    const known = this.#times.get(alone);
    if (known) return known;
    const neighbourhood = this.#chancesOf("connect", algorithm, () => held).neighbourhood(port);
    // The neighbourhood is that of a walk in strides of one.
    const isExact = this.#times.size < EXACT_TIMES || stepWidth > 0;
    const key = isExact ? alone : (neighbourhood ?? alone);
    return remember(this.#times, key, () => ({
      everySecond: toMs(this.#computeMean(port, 1), 1),
      fullSpeed: toMs(this.#computeMean(port, FULL_SPEED), FULL_SPEED),
    }));
  }

  #computeMean(port: number, rate: number): number {
    return waitFor(this.#situation.algorithm, this.#modelFacts(port), port, rate).mean;
  }

  #modelFacts(port: number, isCrowded = false): ModelFacts {
    const { facts, held, connectedPorts, stepWidth } = this.#situation;
    const heldPorts = new Set([...held.map(({ local }) => local.port), ...(isCrowded ? connectedPorts : [])]);
    return modelFacts({ ...facts, heldPorts: [...heldPorts], stepWidth }, port)!;
  }
}

function overlapsWith({ local, isV6Only }: HeldAddress, address: Address): boolean {
  return overlaps(local, isV6Only, address);
}

/** Those on which no other socket has the port; all where only an address that is not loopback may be such a one. */
function openAmong(
  addresses: readonly Address[],
  server: HeldAddress,
  others: readonly HeldAddress[],
): readonly Address[] {
  const open = addresses.filter((address) => !others.some((other) => overlapsWith(other, address)));
  return open.length > 0 || areAllHeld(server, others) ? open : addresses;
}

/** Whether the others hold the port on every address at which clients reach the server. */
function areAllHeld({ local, isV6Only }: HeldAddress, others: readonly HeldAddress[]): boolean {
  if (!isUnspecified(local)) return others.some((other) => overlapsWith(other, local));
  // Loopback alone has millions of addresses: only an unspecified one holds the port on all of a family.
  const holdsAll = (family: 4 | 6) =>
    others.some(({ local: { host }, isV6Only: isOnly }) =>
      family === 6 ? host === "::" : host === "0.0.0.0" || (host === "::" && !isOnly),
    );
  const { host } = unmap(local);
  return host === "::" ? holdsAll(6) && (isV6Only || holdsAll(4)) : holdsAll(4);
}

function heldReason(port: number, others: readonly HeldAddress[]): NeverReason | null {
  if (others.length === 0) return null;
  const because = `${formatAddress(others[0]!.local)} keeps port ${port} from the kernel's choice`;
  return { reason: "held", because };
}

function toMs(attempts: number, attemptsPerSecond: number): number {
  return (attempts / attemptsPerSecond) * 1000;
}

function remember<T>(known: Map<string, T>, key: string, compute: () => T): T {
  const value = known.has(key) ? known.get(key)! : compute();
  known.set(key, value);
  return value;
}
