/** Whether, and after how many attempts, the kernel will give a connect the peer's own port. */
import type { Address } from "../address.ts";
import { unmapped } from "../address.ts";
import type { PortFacts } from "../kernel/host.ts";
import type { PortRange } from "../options.ts";
import type { Strategy } from "../reconnect.ts";

/** Why a loop can never self-connect, and what to do instead. */
export interface Never {
  readonly reason: "outside-range" | "reserved" | "parity" | "address";
  readonly because: string;
  readonly instead: string;
}

/**
 * Linux steps over ports by two (4.2 and later): connect(2) keeps to the parity of the range's low end while a
 * port of it is free, bind(2) with port 0 to the other (net/ipv4/inet_hashtables.c, inet_connection_sock.c).
 */
const PORT_STEP = 2;
/** Since 5.18 the next attempt starts 1 to 8 steps further on (commit ca7af0402550). */
const MEAN_STEPS = 4.5;

/** Null where a self-connect can come, or where this host does not tell enough to know. */
export function whyNever(peer: Address, strategy: Strategy, facts: PortFacts): Never | null {
  if (strategy === "bind") return null;
  return neverAtAddress(peer, strategy) ?? neverAtPort(peer.port, strategy, facts);
}

/** How many ports of the peer's parity an attempt may be given: the mean gap. Null where the host does not tell. */
export function expectedAttempts(peer: Address, strategy: Strategy, facts: PortFacts): number | null {
  if (strategy === "bind" || strategy === "range") return 1;
  if (!facts.ephemeralRange || whyNever(peer, strategy, facts)) return null;
  return portsOfParity(peer.port, facts);
}

/**
 * How many attempts are still to come, given where the kernel's walk stands. A walk that reaches the peer's
 * port lands on it with chance 1 / MEAN_STEPS, and otherwise has to go round.
 */
export function expectedRemaining(peer: Address, localPort: number, facts: PortFacts): number | null {
  const range = facts.ephemeralRange;
  if (!range || localPort < range.low || localPort > range.high) return null;
  const size = range.high - range.low + 1;
  const distance = (((peer.port - localPort) % size) + size) % size;
  const lap = portsOfParity(peer.port, facts) / MEAN_STEPS;
  return distance / PORT_STEP / MEAN_STEPS + (MEAN_STEPS - 1) * lap;
}

function neverAtAddress(peer: Address, strategy: Strategy): Never | null {
  const { family, host } = unmapped(peer);
  const isOtherLoopback = family === 4 && host.startsWith("127.") && host !== "127.0.0.1";
  // bind(2) to the address itself makes it the local one; without it the kernel picks 127.0.0.1.
  if (!isOtherLoopback || strategy === "autobind") return null;
  return {
    reason: "address",
    because: `the kernel gives connects to ${host} the local address 127.0.0.1`,
    instead: `use 127.0.0.1:${peer.port}, or --strategy bind`,
  };
}

function neverAtPort(port: number, strategy: Strategy, facts: PortFacts): Never | null {
  const range = facts.ephemeralRange;
  if (!range) return null;
  if (!isInside(port, range)) {
    return {
      reason: "outside-range",
      because: `port ${port} is outside the ephemeral range ${range.low}-${range.high}`,
      instead: `choose a port inside it, or --strategy bind (this is also the cure: listen outside the range)`,
    };
  }
  if (facts.reservedPorts.some((reserved) => isInside(port, reserved))) {
    return {
      reason: "reserved",
      because: `port ${port} is in net.ipv4.ip_local_reserved_ports, which the kernel never picks`,
      instead: "choose another port, or --strategy bind",
    };
  }
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
    instead: `choose port ${neighbour}, or --strategy ${picksLowParity ? "autobind" : "fresh"}, range or bind`,
  };
}

function portsOfParity(port: number, facts: PortFacts): number {
  const { low, high } = facts.ephemeralRange!;
  let count = 0;
  for (let candidate = low + ((port - low) % PORT_STEP); candidate <= high; candidate += PORT_STEP) {
    if (!facts.reservedPorts.some((reserved) => isInside(candidate, reserved))) count++;
  }
  return count;
}

function isInside(port: number, range: PortRange): boolean {
  return port >= range.low && port <= range.high;
}

function oddOrEven(port: number): string {
  return port % 2 === 0 ? "even" : "odd";
}
