/** Prevention: what to set on a socket before connect(2), so that the kernel cannot pick the peer's port. */
import type { Address } from "../address.ts";
import { unmapped } from "../address.ts";
import type { Guard } from "../guard.ts";
import { clipped, rangesWithout } from "../guard.ts";
import type { PortFacts } from "../kernel/host.ts";
import { isOwnAddress, portFacts } from "../kernel/host.ts";
import type { Native } from "../native.ts";
import type { OptionName, PortRange } from "../options.ts";
import { supported } from "../socket.ts";

/** Facts about the host are asked for again after this long. What changes in between, detection catches. */
const FACTS_LIVE_MS = 1000;
const MOST_HOSTS = 1024;

interface Known<T> {
  readonly value: T;
  readonly untilMs: number;
}

const ownHosts = new Map<string, Known<boolean>>();
const abilities = new WeakMap<Native, Map<OptionName, boolean>>();
let facts: Known<PortFacts> | undefined;

/**
 * The values of IP_LOCAL_PORT_RANGE to connect with, in order: the next one is for EADDRNOTAVAIL with the one
 * before. Empty when nothing needs preventing, or this kernel cannot (before Linux 6.3): then connect plainly.
 */
export function preventiveRanges(
  peer: Address,
  guard: Guard,
  native: Native,
  asked?: PortRange,
): readonly PortRange[] {
  if (guard !== "prevent") return [];
  const { ephemeralRange, reservedPorts } = knownPortFacts();
  if (!ephemeralRange) return [];
  const range = asked ? clipped(asked, ephemeralRange) : ephemeralRange;
  const ranges = rangesWithout(peer.port, range, reservedPorts);
  // The cheap questions first: most connects leave this host, or go to a port that the kernel never picks.
  return ranges.length > 0 && isKnownOwn(peer) && isAble("localPortRange", native) ? ranges : [];
}

/** Whether the port is of the ephemeral range at all: the cheapest question, which spares most connects the others. */
export function isPickable(port: number): boolean {
  const { ephemeralRange } = knownPortFacts();
  return ephemeralRange !== null && ephemeralRange.low <= port && port <= ephemeralRange.high;
}

/** isOwnAddress(), remembered for a second: asking for the interfaces costs as much as half a connect. */
export function isKnownOwn(address: Address): boolean {
  const key = `${address.host}%${address.scope ?? ""}`;
  const known = ownHosts.get(key);
  if (known && performance.now() < known.untilMs) return known.value;
  if (ownHosts.size >= MOST_HOSTS) ownHosts.clear();
  return remember(isOwnAddress(unmapped(address)), (entry) => ownHosts.set(key, entry));
}

/** supported(), asked once. */
export function isAble(name: OptionName, native: Native): boolean {
  const answers = abilities.get(native) ?? new Map<OptionName, boolean>();
  abilities.set(native, answers);
  const answer = answers.get(name) ?? supported(name, native);
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
