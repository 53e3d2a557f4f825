/** Prevention: what to set on a socket before connect(2), so that the kernel cannot pick the peer's port. */

import type { PortFacts } from "../kernel/host.ts";
import { isOwnAddress, portFacts } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import { toAddress, unmap } from "../socket/address.ts";
import type { Native } from "../socket/native.ts";
import { nativeOrNull } from "../socket/native.ts";
import type { OptionName } from "../socket/options.ts";
import type { PortRange } from "../socket/port-range.ts";
import { clipRange, holds, portCount } from "../socket/port-range.ts";
import { supported } from "../socket/supported.ts";
import type { Guard } from "./guard.ts";

/** Facts about the host are read again after this time. If they changed in between, detection still works. */
const FACTS_LIVE_MS = 1000;
const MOST_HOSTS = 1024;

interface Cached<T> {
  readonly value: T;
  readonly untilMs: number;
}

/** A peer: its host as Node passes it, its address, and the ranges that keep the kernel from picking its port. */
export interface CachedPeer {
  readonly host: string;
  readonly address: Address;
  readonly ranges: readonly PortRange[];
  readonly untilMs: number;
}

const ownHosts = new Map<string, Cached<boolean>>();
const optionSupport = new WeakMap<Native, Map<OptionName, boolean>>();
/** By port: numbers are faster keys than strings, and there are at most 65,536 of them. */
const peers = new Map<number, CachedPeer>();
let facts: Cached<PortFacts> | undefined;

/**
 * Values of IP_LOCAL_PORT_RANGE for this connect, in order: use the next one after EADDRNOTAVAIL. Returns [] when the
 * kernel cannot pick the peer's port, or cannot be kept from it (before Linux 6.3): then connect without the option.
 */
export function preventiveRanges(peer: Address, guard: Guard, asked?: PortRange): readonly PortRange[] {
  if (guard !== "prevent") return [];
  const { ephemeralRange, reservedPorts } = cachedPortFacts();
  if (!ephemeralRange) return [];
  const range = asked ? clipRange(asked, ephemeralRange) : ephemeralRange;
  const without = rangesWithout(peer.port, range, reservedPorts);
  // The cheapest checks come first: most connects leave this host, or go to a port that the kernel never picks.
  return without.length > 0 && isCachedOwnAddress(peer) && isOptionSupported("localPortRange") ? without : [];
}

/**
 * The address of a numeric host and its preventiveRanges(), cached for a second: programs connect to few peers, and
 * often.
 */
export function cachedPeer(host: string, port: number, nowMs: number): CachedPeer {
  const known = peers.get(port);
  if (known && known.host === host && nowMs < known.untilMs) return known;
  const address = toAddress(host, port);
  const ranges = isPickable(port) ? preventiveRanges(address, "prevent") : [];
  const peer = { host, address, ranges, untilMs: nowMs + FACTS_LIVE_MS };
  peers.set(port, peer);
  return peer;
}

/**
 * Values of IP_LOCAL_PORT_RANGE with which the kernel cannot pick `port`: the ports below it and the ports above it,
 * the longer range first. Use the second when the first is exhausted; then `port` is the only one left out. Returns
 * [] when the kernel cannot pick `port` anyway (it is outside the range or reserved), or when it has no other port.
 *
 * Parity does not prevent it: a plain connect(2) takes ports of the low end's parity, and the others only when those
 * are exhausted, but then a self-connect can happen after all. With the option set, Linux 6.8 and later take both
 * parities (6.3 to 6.7 take the parity of the option's low end first). So ports of both parities are treated alike.
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

/** Whether the port is in the ephemeral range: the cheapest check, and enough for most connects. */
function isPickable(port: number): boolean {
  const { ephemeralRange } = cachedPortFacts();
  return ephemeralRange !== null && holds(ephemeralRange, port);
}

/** isOwnAddress(), cached for a second: listing the interfaces costs as much as half a connect. */
export function isCachedOwnAddress(address: Address): boolean {
  const key = `${address.host}%${address.scope ?? ""}`;
  const known = ownHosts.get(key);
  if (known && performance.now() < known.untilMs) return known.value;
  if (ownHosts.size >= MOST_HOSTS) ownHosts.clear();
  return cache(isOwnAddress(unmap(address)), (entry) => ownHosts.set(key, entry));
}

/** supported(), called once for each option; false where the addon does not load. */
export function isOptionSupported(name: OptionName): boolean {
  const native = nativeOrNull();
  if (!native) return false;
  const known = optionSupport.get(native) ?? new Map<OptionName, boolean>();
  optionSupport.set(native, known);
  const isSupported = known.get(name) ?? supported(name);
  known.set(name, isSupported);
  return isSupported;
}

/** portFacts(), cached for a second. */
export function cachedPortFacts(): PortFacts {
  if (facts && performance.now() < facts.untilMs) return facts.value;
  return cache(portFacts(), (entry) => {
    facts = entry;
  });
}

function cache<T>(value: T, keep: (entry: Cached<T>) => void): T {
  keep({ value, untilMs: performance.now() + FACTS_LIVE_MS });
  return value;
}
