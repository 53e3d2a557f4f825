/** Reads the table of sockets once, and sorts it into what the audit judges. */
import { walkSockets } from "../kernel/dump.ts";
import type { PortFacts } from "../kernel/host.ts";
import type { SocketRow, TableSocket, TableSource } from "../kernel/tables.ts";
import { holds } from "../socket/port-range.ts";
import type { TimeWaitReuse } from "./destinations.ts";
import { DestinationCounter } from "./destinations.ts";

/** A socket that listens, or is bound and neither listens nor connects. */
export interface BoundRow extends SocketRow {
  readonly isV6Only: boolean;
  readonly isMultipath: boolean;
}

/** A connection on the port of a listener, which is decoded only when it is of interest. */
export interface ConnectionOnPort {
  readonly inode: number;
  readonly decode: () => SocketRow;
}

/** The sockets of a network namespace. */
export interface SortedTable {
  readonly source: TableSource;
  readonly bound: readonly BoundRow[];
  readonly joined: readonly SocketRow[];
  readonly connecting: readonly SocketRow[];
  /** By the port: what listeners in the ephemeral range have accepted, and a process has open. */
  readonly accepted: ReadonlyMap<number, readonly ConnectionOnPort[]>;
  /** Ports of the ephemeral range with a connection or TIME-WAIT, a listener's too: it may be on another address. */
  readonly connectedPorts: ReadonlySet<number>;
  readonly destinations: DestinationCounter;
}

/** sock_diag(7): reads the table, and decodes only what the audit needs. */
export async function readSortedTable(
  { ephemeralRange }: PortFacts,
  reuse: TimeWaitReuse,
  namespaceFd: number,
): Promise<SortedTable> {
  const bound: BoundRow[] = [];
  const joined: SocketRow[] = [];
  const connecting: SocketRow[] = [];
  const accepted = new Map<number, ConnectionOnPort[]>();
  const connectedPorts = new Set<number>();
  const destinations = new DestinationCounter(ephemeralRange, reuse);
  const isInRange = (port: number) => ephemeralRange === null || holds(ephemeralRange, port);
  const visit = (socket: TableSocket) => {
    const { state, localPort: port } = socket;
    if (state === "LISTEN" || state === "CLOSED") {
      const { isV6Only, isMultipath } = socket;
      bound.push({ ...socket.keep()(), isV6Only, isMultipath });
      if (isInRange(port) && !accepted.has(port)) accepted.set(port, []);
      return;
    }
    if (isInRange(port)) connectedPorts.add(port);
    if (state === "SYN-SENT") connecting.push(socket.keep()());
    if (socket.isJoined) {
      joined.push(socket.keep()());
    } else if (accepted.has(port)) {
      // The kernel lists listeners first. What they have accepted uses no port that connect(2) could pick.
      const { inode } = socket;
      if (inode !== 0) accepted.get(port)!.push({ inode, decode: socket.keep() });
    } else {
      destinations.add(socket);
    }
  };
  const source = await walkSockets(visit, namespaceFd);
  return { source, bound, joined, connecting, accepted, connectedPorts, destinations };
}
