/** Prevention: what to set on a socket before connect(2), so that the kernel cannot pick the peer's port. */

import type { PortFacts } from "../kernel/host.ts";
import { isOwnAddress, portFacts } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import { toAddress, unmap } from "../socket/address.ts";
import type { Native } from "../socket/native.ts";
import { nativeOrNull } from "../socket/native.ts";
import type { OptionName } from "../socket/options.ts";
import type { PortRange } from "../socket/port-range.ts";
import { clipRange, holds } from "../socket/port-range.ts";
import { supported } from "../socket/supported.ts";
import type { Guard } from "./guard.ts";
import { rangesWithout } from "./guard.ts";

/** Facts about the host are asked for again after this long. What changes in between, detection catches. */
const FACTS_LIVE_MS = 1000;
const MOST_HOSTS = 1024;

interface Known<T> {
  readonly value: T;
  readonly untilMs: number;
}

/** A peer as libuv names it, as an address, and the ranges that keep the kernel from picking its port. */
export interface KnownPeer {
  readonly host: string;
  readonly address: Address;
  readonly ranges: readonly PortRange[];
  readonly untilMs: number;
}

const ownHosts = new Map<string, Known<boolean>>();
const abilities = new WeakMap<Native, Map<OptionName, boolean>>();
/** By port: a number is found faster than any text, and there are only so many. */
const peers = new Map<number, KnownPeer>();
let facts: Known<PortFacts> | undefined;

/**
 * The values of IP_LOCAL_PORT_RANGE to connect with, in order: the next one is for EADDRNOTAVAIL with the one
 * before. Empty when nothing needs preventing, or this kernel cannot (before Linux 6.3): then connect plainly.
 */
export function preventiveRanges(peer: Address, guard: Guard, asked?: PortRange): readonly PortRange[] {
  if (guard !== "prevent") return [];
  const { ephemeralRange, reservedPorts } = knownPortFacts();
  if (!ephemeralRange) return [];
  const range = asked ? clipRange(asked, ephemeralRange) : ephemeralRange;
  const without = rangesWithout(peer.port, range, reservedPorts);
  // The cheap questions first: most connects leave this host, or go to a port that the kernel never picks.
  return without.length > 0 && isKnownOwn(peer) && isAble("localPortRange") ? without : [];
}

/**
 * The address of a numeric host and its preventiveRanges(), remembered for a second: programs connect to few peers,
 * and often.
 */
export function knownPeer(host: string, port: number, nowMs: number): KnownPeer {
  const known = peers.get(port);
  if (known && known.host === host && nowMs < known.untilMs) return known;
  const address = toAddress(host, port);
  const ranges = isPickable(port) ? preventiveRanges(address, "prevent") : [];
  const peer = { host, address, ranges, untilMs: nowMs + FACTS_LIVE_MS };
  peers.set(port, peer);
  return peer;
}

/** Whether the port is of the ephemeral range at all: the cheapest question, which spares most connects the others. */
function isPickable(port: number): boolean {
  const { ephemeralRange } = knownPortFacts();
  return ephemeralRange !== null && holds(ephemeralRange, port);
}

/** isOwnAddress(), remembered for a second: asking for the interfaces costs as much as half a connect. */
export function isKnownOwn(address: Address): boolean {
  const key = `${address.host}%${address.scope ?? ""}`;
  const known = ownHosts.get(key);
  if (known && performance.now() < known.untilMs) return known.value;
  if (ownHosts.size >= MOST_HOSTS) ownHosts.clear();
  return remember(isOwnAddress(unmap(address)), (entry) => ownHosts.set(key, entry));
}

/** supported(), asked once; false where the addon does not load. */
export function isAble(name: OptionName): boolean {
  const native = nativeOrNull();
  if (!native) return false;
  const answers = abilities.get(native) ?? new Map<OptionName, boolean>();
  abilities.set(native, answers);
  const answer = answers.get(name) ?? supported(name);
  answers.set(name, answer);
  return answer;
}

/** portFacts(), remembered for a second. */
export function knownPortFacts(): PortFacts {
  if (facts && performance.now() < facts.untilMs) return facts.value;
  return remember(portFacts(), (entry) => {
    facts = entry;
  });
}

function remember<T>(value: T, keep: (entry: Known<T>) => void): T {
  keep({ value, untilMs: performance.now() + FACTS_LIVE_MS });
  return value;
}
