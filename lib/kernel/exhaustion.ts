/** EADDRNOTAVAIL from connect(2): the ephemeral range is exhausted towards a peer, or the answer was spurious. */
import type { Address } from "../socket/address.ts";
import { isSameAddress, unmap } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, portCount } from "../socket/port-range.ts";
import { portFacts } from "./host.ts";
import type { SocketRow } from "./tables.ts";
import { socketTable } from "./tables.ts";

/** Whether the ephemeral range is exhausted towards one peer, and the counts behind that. */
export interface Exhaustion {
  readonly range: PortRange;
  /** Ports of the range that a new connection to this peer cannot have. */
  readonly portsInUse: number;
  readonly isReal: boolean;
  readonly text: string;
}

/** Counts the ports in use towards a peer; null where the host does not tell. */
export function exhaustion(peer: Address, range = portFacts().ephemeralRange): Exhaustion | null {
  const table = tableOrNull();
  if (!range || !table) return null;
  const { reservedPorts } = portFacts();
  const portsInUse = usedPorts(peer, range, reservedPorts, table);
  const ports = portCount(range);
  const isReal = portsInUse >= ports;
  const text =
    `${portsInUse} of the ${ports} ports of the ephemeral range ${range.low}-${range.high} are in use towards this ` +
    "peer, reserved or listened on (net.ipv4.ip_local_port_range)";
  return { range, portsInUse, isReal, text };
}

/**
 * The ports of a range that connect(2) passes over: reserved, with a listener or a bind of any address, or with a
 * connection to the same peer. The peer's own port counts: the guard leaves it out.
 */
export function usedPorts(
  peer: Address,
  range: PortRange,
  reserved: readonly PortRange[],
  table: readonly SocketRow[],
): number {
  const used = new Set<number>([peer.port]);
  for (const row of table) {
    if (row.state === "LISTEN" || isSameAddress(unmap(row.peer), unmap(peer))) used.add(row.local.port);
  }
  for (const { low, high } of reserved) for (let port = low; port <= high; port++) used.add(port);
  return [...used].filter((port) => holds(range, port)).length;
}

function tableOrNull(): SocketRow[] | null {
  try {
    return socketTable();
  } catch {
    return null; // No /proc/net/tcp: another kernel than Linux.
  }
}
