/** Tests after EADDRNOTAVAIL from connect(2) whether the ephemeral range is exhausted towards a peer. */
import type { Address } from "../socket/address.ts";
import { isSameAddress, unmap } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, portCount } from "../socket/port-range.ts";
import { portFacts } from "./host.ts";
import type { SocketRow } from "./tables.ts";
import { socketTable } from "./tables.ts";

/** Whether the ephemeral range is exhausted towards one peer, and the counts that show it. */
export interface Exhaustion {
  readonly range: PortRange;
  /** Ports of the range that a new connection to this peer cannot use. */
  readonly portsInUse: number;
  readonly isReal: boolean;
  readonly text: string;
}

/** proc(5), /proc/net/tcp: counts the ports in use towards a peer; null when the host reports no sockets or range. */
export function exhaustion(peer: Address, range = portFacts().ephemeralRange): Exhaustion | null {
  const table = readTable();
  if (!range || !table) return null;
  const { reservedPorts } = portFacts();
  const portsInUse = countUsedPorts(peer, range, reservedPorts, table);
  const ports = portCount(range);
  const isReal = portsInUse >= ports;
  const text =
    `${portsInUse} of the ${ports} ports of the ephemeral range ${range.low}-${range.high} are in use towards this ` +
    "peer, reserved or listened on (net.ipv4.ip_local_port_range)";
  return { range, portsInUse, isReal, text };
}

/**
 * Counts the ports of a range that connect(2) skips: reserved ports, and ports with a listener or with a connection to
 * the same peer. Counts the peer's port too, because the guard excludes it.
 */
export function countUsedPorts(
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

function readTable(): SocketRow[] | null {
  try {
    return socketTable();
  } catch {
    return null; // Kernels other than Linux have no /proc/net/tcp.
  }
}
