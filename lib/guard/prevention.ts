/** Prevention: what to set on a socket before connect(2), so that the kernel cannot pick the peer's port. */

import type { PortFacts } from "../kernel/host.ts";
import { portFacts } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import { toAddress } from "../socket/address.ts";
import { checkPort } from "../socket/address-text.ts";
import { checkArray, checkShape } from "../socket/misuse.ts";
import type { Native } from "../socket/native.ts";
import { nativeOrNull } from "../socket/native.ts";
import type { OptionName, SocketOptions } from "../socket/options.ts";
import type { PortRange } from "../socket/port-range.ts";
import { clipRange, holds, portCount } from "../socket/port-range.ts";
import type { RouteOrigin } from "../socket/route.ts";
import { canSelfConnect, pickRouting } from "../socket/route.ts";
import { isUnspecified } from "../socket/self-connect.ts";
import { supported } from "../socket/supported.ts";
import type { Guard } from "./guard.ts";
import { OnePortRanges, PORT_STEP } from "./one-port-ranges.ts";

/** Facts about the host are read again after this time. If they changed in between, detection still works. */
const FACTS_LIVE_MS = 1000;
const MOST_ROUTES = 1024;

interface Cached<T> {
  readonly value: T;
  readonly untilMs: number;
}

/** A peer: its host as Node passes it, its address, and what keeps the kernel from picking its port. */
export interface CachedPeer {
  readonly host: string;
  readonly address: Address;
  readonly prevention: Prevention;
  readonly untilMs: number;
}

/**
 * Values of IP_LOCAL_PORT_RANGE for one connect, in order: use the next one after EADDRNOTAVAIL. They are drawn when
 * they are asked for, because most connects use one. Null when a connect needs no prevention, or there is none.
 */
export type Prevention = (() => Iterator<PortRange, unknown>) | null;

const routes = new Map<string, Cached<boolean | null>>();
const optionSupport = new WeakMap<Native, Map<OptionName, boolean>>();
/** By port: numbers are faster keys than strings, and there are at most 65,536 of them. */
const peers = new Map<number, CachedPeer>();
let facts: Cached<PortFacts> | undefined;

/**
 * How to keep the kernel from picking the peer's port: not at all when it cannot pick it, or cannot be kept from it
 * (before Linux 6.3). A caller that asks for a range gets the parts of it without the peer's port.
 */
export function preventionFor(peer: Address, guard: Guard, input: RouteOrigin = {}): Prevention {
  if (guard !== "prevent") return null;
  const { ephemeralRange, reservedPorts } = cachedPortFacts();
  if (!ephemeralRange) return null;
  const asked = input.options?.localPortRange;
  const range = asked ? clipRange(asked, ephemeralRange) : ephemeralRange;
  const without = rangesWithout(peer.port, range, reservedPorts);
  // The cheapest checks come first: most connects leave this host, or go to a port that the kernel never picks.
  if (without.length === 0 || (!asked && isPreventedByParity(peer.port, ephemeralRange))) return null;
  if (isCachedRoutedBack(peer, input) === false || !isOptionSupported("localPortRange")) return null;
  if (asked) return () => without.values();
  const walk = new OnePortRanges(ephemeralRange, peer.port, reservedPorts);
  return function* drawRanges() {
    yield* walk.draw();
    yield* without;
  };
}

/** The values of preventionFor() for one connect. */
export function preventiveRanges(peer: Address, guard: Guard, input: RouteOrigin = {}): readonly PortRange[] {
  const ranges = preventionFor(peer, guard, input)?.();
  return ranges ? [...{ [Symbol.iterator]: () => ranges }] : [];
}

/**
 * The address of a numeric host and its preventionFor(), cached for a second: programs connect to few peers, and
 * often.
 */
export function cachedPeer(host: string, port: number, nowMs: number): CachedPeer {
  const known = peers.get(port);
  if (known && known.host === host && nowMs < known.untilMs) return known;
  const address = toAddress(host, port);
  const prevention = isPickable(port) ? preventionFor(address, "prevent") : null;
  const peer = { host, address, prevention, untilMs: nowMs + FACTS_LIVE_MS };
  peers.set(port, peer);
  return peer;
}

/**
 * Values of IP_LOCAL_PORT_RANGE with which the kernel cannot pick `port`: the ports below it and the ports above it,
 * the longer range first. Use the second when the first is exhausted; then `port` is the only one left out. Returns
 * [] when the kernel cannot pick `port` anyway (it is outside the range or reserved), or when it has no other port.
 * With a range Linux 6.8 and later pick ports of both parities, and 6.3 to 6.7 those of its low end's parity first.
 * Throws ERR_INVALID_PORT and ERR_INVALID_ARGUMENT.
 */
export function rangesWithout(
  port: number,
  range: PortRange,
  reserved: readonly PortRange[] = [],
): readonly PortRange[] {
  checkPort(port);
  checkShape("rangesWithout() takes a range, { low, high }", range, ["low", "high"]);
  checkArray("rangesWithout() takes an array of reserved ranges", reserved, ["low", "high"]);
  if (!holds(range, port) || reserved.some((each) => holds(each, port))) return [];
  const below = { low: range.low, high: port - 1 };
  const above = { low: port + 1, high: range.high };
  const inOrder = portCount(below) >= portCount(above) ? [below, above] : [above, below];
  return inOrder.filter((each) => portCount(each) > 0);
}

/**
 * Without IP_LOCAL_PORT_RANGE connect(2) picks ports of the low end's parity while one of them is free, and servers on
 * the others can start. A range would take the others too, so none is set where parity prevents. Should the ports of
 * that parity be exhausted, the guard still detects.
 */
function isPreventedByParity(port: number, { low }: PortRange): boolean {
  return (port - low) % PORT_STEP !== 0;
}

/** Whether the port is in the ephemeral range: the cheapest check, and enough for most connects. */
function isPickable(port: number): boolean {
  const { ephemeralRange } = cachedPortFacts();
  return ephemeralRange !== null && holds(ephemeralRange, port);
}

/**
 * canSelfConnect(), cached for a second; null when the kernel does not answer: then prevent, and detect. A socket that
 * is bound to an address connects from that one.
 */
export function isCachedRoutedBack(peer: Address, input: RouteOrigin = {}): boolean | null {
  const local = input.local && !isUnspecified(input.local) ? input.local : undefined;
  const options = pickRouting(input.options);
  const key = `${peer.host}%${peer.scope ?? ""} ${local?.host ?? ""}${options ? routingKey(options) : ""}`;
  const known = routes.get(key);
  if (known && performance.now() < known.untilMs) return known.value;
  if (routes.size >= MOST_ROUTES) routes.clear();
  return cache(askRoute(peer, { local, options }), (entry) => routes.set(key, entry));
}

function routingKey(options: Partial<SocketOptions>): string {
  return Object.entries(options).join(" ");
}

function askRoute(peer: Address, input: RouteOrigin): boolean | null {
  try {
    return canSelfConnect(peer, input);
  } catch {
    return null; // EMFILE, no addon: the connect itself will report it.
  }
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
