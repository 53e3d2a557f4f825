/** Counts the ports in use towards each destination, before connect(2) ends in EADDRNOTAVAIL. */

import type { PortFacts } from "../kernel/host.ts";
import type { SocketRow, TableSocket } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress, unmap } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, portCount } from "../socket/port-range.ts";

/** The ports of the ephemeral range that connections from one local address to one peer use. */
export interface Destination {
  /** With port 0. */
  readonly local: Address;
  readonly peer: Address;
  readonly portsInUse: number;
  /** How many of them are in TIME-WAIT. */
  readonly timeWait: number;
  /** How many ports connect(2) can pick: those of the range that are neither reserved nor held by bind(2). */
  readonly ports: number;
}

/** Destinations that use less of the range are not reported. */
const LEAST_SHARE = 0.1;
const MOST_DESTINATIONS = 20;

interface Count {
  portsInUse: number;
  timeWait: number;
  readonly decode: () => SocketRow;
}

/** Counts while the table is walked. */
export class DestinationCounter {
  readonly #range: PortRange | null;
  readonly #counts = new Map<string, Count>();

  constructor(range: PortRange | null) {
    this.#range = range;
  }

  /** Counts a socket with a peer. The four-tuple is unique, so each one has a port of its own. */
  add(socket: TableSocket): void {
    if (!this.#range || !holds(this.#range, socket.localPort)) return;
    const { path } = socket;
    let count = this.#counts.get(path);
    if (!count) {
      count = { portsInUse: 0, timeWait: 0, decode: socket.keep() };
      this.#counts.set(path, count);
    }
    count.portsInUse++;
    if (socket.state === "TIME-WAIT") count.timeWait++;
  }

  /** The destinations that use a tenth of the ports or more, the fullest first. */
  list({ ephemeralRange, reservedPorts }: PortFacts, heldPorts: ReadonlySet<number>): Destination[] {
    if (!ephemeralRange) return [];
    const ports = countUsable(ephemeralRange, reservedPorts, heldPorts);
    const found = new Map<string, Destination>();
    for (const { portsInUse, timeWait, decode } of this.#counts.values()) {
      if (portsInUse < ports * LEAST_SHARE) continue;
      const row = decode();
      const [local, peer] = [{ ...unmap(row.local), port: 0 }, unmap(row.peer)];
      // A connection of an IPv6 socket over IPv4 is in the same table as one of an IPv4 socket.
      const key = `${formatAddress(local)} ${formatAddress(peer)}`;
      const other = found.get(key);
      found.set(key, {
        local,
        peer,
        portsInUse: portsInUse + (other?.portsInUse ?? 0),
        timeWait: timeWait + (other?.timeWait ?? 0),
        ports,
      });
    }
    return [...found.values()].sort((a, b) => b.portsInUse - a.portsInUse).slice(0, MOST_DESTINATIONS);
  }
}

function countUsable(
  range: PortRange,
  reserved: readonly PortRange[],
  heldPorts: ReadonlySet<number>,
): number {
  const unusable = new Set([...heldPorts].filter((port) => holds(range, port)));
  for (const { low, high } of reserved) {
    for (let port = Math.max(low, range.low); port <= Math.min(high, range.high); port++) unusable.add(port);
  }
  return portCount(range) - unusable.size;
}
