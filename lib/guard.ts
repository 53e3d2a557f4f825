/** The guard's words: what a self-connect is, and which local ports prevent one. */
import type { Address } from "./address.ts";
import { isSameAddress, isSameHost, unmapped } from "./address.ts";
import { invalidArgument, nearest } from "./misuse.ts";
import type { PortRange, SocketOptions } from "./options.ts";

/** How far the guard goes. It prevents where the kernel lets it, and detects always, unless it is off. */
export type Guard = "prevent" | "detect" | "off";

/** What every door of the guard takes. */
export interface GuardOptions {
  /** "prevent" unless said otherwise; it falls back to detection where the kernel cannot prevent. */
  readonly guard?: Guard;
  /** Set before bind(2) and connect(2), on every socket that is made. */
  readonly options?: Partial<SocketOptions>;
}

const GUARDS: readonly Guard[] = ["prevent", "detect", "off"];

/**
 * A self-connect: the local address equals the peer address. The socket is joined to itself by a simultaneous
 * open (RFC 9293 section 3.5), and what it sends comes back to it.
 */
export function isSelfConnect(local: Address, peer: Address): boolean {
  return isSameAddress(local, peer);
}

/**
 * Whether connecting from a bound address would end in a self-connect. An unspecified local address becomes the
 * peer's own when the peer is of this host (of 127.0.0.0/8: 127.0.0.1), and an unspecified peer becomes loopback.
 */
export function wouldSelfConnect(local: Address, peer: Address, isOwnPeer: boolean): boolean {
  if (local.port === 0 || local.port !== peer.port) return false;
  const to = specified(peer);
  if (!isUnspecified(local)) return isSameHost(unmapped(local), unmapped(to));
  return isOwnPeer && (to.family === 6 || !to.host.startsWith("127.") || to.host === "127.0.0.1");
}

/**
 * The ranges that IP_LOCAL_PORT_RANGE can take so that the kernel cannot pick `port`: what is below it and what is
 * above, the longer first. The second is for when the first is exhausted, so no port is given up but the one.
 * Empty when the kernel cannot pick that port anyhow (it lies outside the range, or is reserved), or has no other.
 *
 * Why not count on parity: a plain connect(2) takes ports of the low end's parity, and the others only when those
 * are exhausted. That "only" is when a self-connect would come after all; and with the option set, Linux 6.8 and
 * later take both parities (6.3 to 6.7 take the parity of the option's own low end first). So a port of either
 * parity is left out in the same way.
 */
export function rangesWithout(
  port: number,
  range: PortRange,
  reserved: readonly PortRange[] = [],
): readonly PortRange[] {
  if (!holds(range, port) || reserved.some((each) => holds(each, port))) return [];
  const below = { low: range.low, high: port - 1 };
  const above = { low: port + 1, high: range.high };
  const inOrder = portCount(below) >= portCount(above) ? [below, above] : [above, below];
  return inOrder.filter((each) => portCount(each) > 0);
}

/** How many ports a range holds. */
export function portCount(range: PortRange): number {
  return Math.max(0, range.high - range.low + 1);
}

/** What two ranges have in common as IP_LOCAL_PORT_RANGE means it: a bound of 0, or outside, is the outer one's own. */
export function clipped(range: PortRange, outer: PortRange): PortRange {
  return {
    low: holds(outer, range.low) ? range.low : outer.low,
    high: holds(outer, range.high) ? range.high : outer.high,
  };
}

/** Throws ERR_UNKNOWN_GUARD unless the value is one of the guard's words; "prevent" when there is none. */
export function checkGuard(value: Guard | undefined): Guard {
  if (value === undefined) return "prevent";
  if (GUARDS.includes(value)) return value;
  const meant = nearest(String(value), GUARDS);
  const mend = meant ? `did you mean "${meant}"?` : `use ${GUARDS.join(", ")}`;
  throw invalidArgument("ERR_UNKNOWN_GUARD", `"${String(value)}" is not a guard: ${mend}`);
}

/** Whether a port lies inside a range. */
export function holds(range: PortRange, port: number): boolean {
  return range.low <= port && port <= range.high;
}

/** connect(2) to the unspecified address goes to loopback. */
function specified(address: Address): Address {
  const plain = unmapped(address);
  if (!isUnspecified(plain)) return plain;
  return { family: plain.family, host: plain.family === 4 ? "127.0.0.1" : "::1", port: plain.port };
}

function isUnspecified(address: Address): boolean {
  const { host } = unmapped(address);
  return host === "0.0.0.0" || host === "::";
}
