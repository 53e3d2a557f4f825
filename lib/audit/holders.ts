/** Names what holds a port: the kind of each socket, its processes, and when the kernel gives the port back. */
import type { FoundNamespaces, NetworkNamespace } from "../kernel/namespaces.ts";
import { findOtherNamespaces, readNamespaceId } from "../kernel/namespaces.ts";
import type { Process } from "../kernel/owners.ts";
import { findProcesses, listUses, readUsers } from "../kernel/owners.ts";
import type { Direction, PortHolder } from "../kernel/port-holders.ts";
import { findPortHolders, overlaps, showsBoundSockets } from "../kernel/port-holders.ts";
import { ALL_PORTS, listProcesses } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { ADDRESS_BYTES, decodeAddress } from "../socket/address.ts";
import { loadNative } from "../socket/native.ts";
import type { PortRange } from "../socket/port-range.ts";
import { isSelfConnect } from "../socket/self-connect.ts";
import type { TcpState } from "../socket/tcp-state.ts";

/** What a socket that holds a port is. */
export type HolderKind =
  /** It listens. */
  | "listener"
  /** It is bound, and neither listens nor is connected. */
  | "bound"
  /** Its SYN is unanswered. */
  | "connecting"
  /** A connection: `direction` says whether it is outgoing, or accepted by a server that has ended. */
  | "connection"
  /** A connection that a listener on this port has accepted, or will accept. */
  | "accepted"
  /** A connection that one end has closed, and that a process still has open. */
  | "half-closed"
  | "self-connect"
  /** TIME-WAIT of an ordinary connection. */
  | "time-wait"
  | "self-connect-time-wait"
  /** Its process has closed it, and its peer has not confirmed that. */
  | "orphan"
  /** bind(2) fails, and the kernel reports no socket that explains it. */
  | "unknown";

/** Options that let a server start where another socket holds the port. */
export type NeededOption = "reuseAddress" | "reusePort";

/** A socket that holds a port. */
export interface Holder {
  /** What the socket is: a listener, a connection, joined to itself … */
  readonly kind: HolderKind;
  /** Its local address. */
  readonly local: Address;
  /** Null for a socket without a peer. */
  readonly peer: Address | null;
  /** Null when the kernel does not report the socket. */
  readonly state: TcpState | null;
  /** Every process that has the socket open; empty without one, and when none is visible. */
  readonly processes: readonly Process[];
  /** The user that created the socket; null in TIME-WAIT and when not reported. */
  readonly user: string | null;
  /** The number of the network namespace; null for the one of this process. */
  readonly namespace: number | null;
  /** Milliseconds until the kernel removes it by itself; null when that depends on a process or a peer. */
  readonly leftMs: number | null;
  /** IPV6_V6ONLY; null when the kernel does not report it. */
  readonly isV6Only: boolean | null;
  /** Which end of its connection it is; null when the kernel does not tell, and for what is no connection. */
  readonly direction: Direction | null;
  /** Whether it is a socket of Multipath TCP. */
  readonly isMultipath: boolean;
}

/** Which holders to find. */
export interface FindHoldersOptions {
  /** Also those of other network namespaces, which are in nobody's way here. */
  readonly allNamespaces?: boolean;
  /** The network namespace in which the port is held (default: that of this process). */
  readonly namespace?: NetworkNamespace | null;
}

/** The holders of a port, and what could not be seen. */
export interface Holders {
  readonly holders: readonly Holder[];
  /** The rows of the kernel's table from which the holders were made, in the same order. */
  readonly rows: readonly (PortHolder | null)[];
  /** Whether the kernel reports sockets that are bound and neither listen nor are connected. */
  readonly showsBound: boolean;
  /** False when the descriptors of some process are not readable without root. */
  readonly seesAllProcesses: boolean;
  /** False when some network namespace is not readable without root; true when only this one was asked for. */
  readonly seesAllNamespaces: boolean;
}

const NO_PROCESS = ["FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "LAST-ACK"];
const HALF_CLOSED = [...NO_PROCESS, "CLOSE-WAIT"];

/** sock_diag(7), proc(5): finds every socket that holds one of the ports, and the processes that have it open. */
export function findHolders(ports: readonly number[], options: FindHoldersOptions = {}): Holders {
  const { allNamespaces = false, namespace = null } = options;
  const wanted = new Set(ports);
  const range = spanOf(wanted);
  const own = findPortHolders(range, namespace);
  const others: FoundNamespaces = allNamespaces
    ? findOtherNamespaces()
    : { namespaces: [], isComplete: true };
  const dumps = others.namespaces.map((namespace) => findPortHolders(range, namespace));
  const found = [own, ...dumps].flatMap((dump) => dump?.holders ?? []);
  const rows = found.filter(({ local }) => wanted.has(local.port));
  const listeners = rows.filter(({ state }) => state === "LISTEN");
  const showsBound = showsBoundSockets();
  const processes = findProcesses(rows.map(({ inode }) => inode));
  const users = readUsers();
  const holders = rows.map((row): Holder => {
    const { local, peer, state, uid, direction, isV6Only, isMultipath } = row;
    const kind = kindOf(row, listeners);
    return {
      kind,
      local,
      peer: peer.port === 0 ? null : peer,
      state,
      processes: processes.byInode.get(row.inode) ?? [],
      user: row.inode === 0 ? null : (users.get(uid) ?? String(uid)),
      namespace: row.namespace?.id ?? null,
      leftMs: isTimed(row) ? row.timerMs : null,
      direction,
      isV6Only,
      isMultipath,
    };
  });
  const unreported = showsBound ? [] : findBoundByProcesses(wanted, rows, namespace);
  return {
    holders: [...holders, ...unreported],
    rows: [...rows, ...unreported.map(() => null)],
    showsBound,
    seesAllProcesses: processes.isComplete,
    seesAllNamespaces: others.isComplete && [own, ...dumps].every((dump) => dump !== null),
  };
}

/** Groups sockets by their local port. */
export function groupByPort<T extends { readonly local: Address }>(sockets: readonly T[]): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const one of sockets) {
    const group = groups.get(one.local.port);
    if (group) group.push(one);
    else groups.set(one.local.port, [one]);
  }
  return groups;
}

/** The least range with all of the ports: one dump of it costs less than one for each port. */
function spanOf(ports: ReadonlySet<number>): PortRange {
  const all = [...ports];
  return {
    low: all.reduce((low, port) => Math.min(low, port), ALL_PORTS.high),
    high: all.reduce((high, port) => Math.max(high, port), ALL_PORTS.low),
  };
}

/** The kernel removes TIME-WAIT, and a FIN-WAIT-2 that no process has open, after a time of its own. */
function isTimed({ state, inode, timerMs }: PortHolder): boolean {
  return state === "TIME-WAIT" || (state === "FIN-WAIT-2" && inode === 0 && timerMs > 0);
}

function kindOf(row: PortHolder, listeners: readonly PortHolder[]): HolderKind {
  const { state, local, peer, inode } = row;
  if (state === "LISTEN") return "listener";
  if (state === "CLOSED") return "bound";
  const isJoined = isSelfConnect(local, peer);
  if (state === "TIME-WAIT") return isJoined ? "self-connect-time-wait" : "time-wait";
  if (isJoined) return "self-connect";
  if (state === "SYN-SENT") return "connecting";
  if (inode === 0 && NO_PROCESS.includes(state)) return "orphan";
  const isOfListener = (other: PortHolder) =>
    other.local.port === local.port &&
    other.namespace?.id === row.namespace?.id &&
    overlaps(other.local, other.isV6Only, local);
  // The peer of a connection that waits for accept(2) may have closed it.
  const isHalfClosed = HALF_CLOSED.includes(state);
  if (isHalfClosed && inode !== 0) return "half-closed";
  // An outgoing connection is beside a listener on its port where both have set SO_REUSEADDR.
  if (row.direction !== "outgoing" && listeners.some(isOfListener)) return "accepted";
  return isHalfClosed ? "half-closed" : "connection";
}

/**
 * pidfd_getfd(2), getsockname(2): before Linux 6.8 the kernel's tables have no socket that is bound only. Looks at the
 * sockets that the processes of a network namespace have open and that the table lacks; those of other users need root.
 */
function findBoundByProcesses(
  ports: ReadonlySet<number>,
  rows: readonly PortHolder[],
  namespace: NetworkNamespace | null,
): Holder[] {
  const native = loadNative();
  const id = namespace?.id ?? readNamespaceId("self");
  const known = new Set(rows.map(({ inode }) => inode));
  const found = new Map<number, Holder>();
  const local = new Uint8Array(ADDRESS_BYTES);
  for (const pid of listProcesses()) {
    // The same port of another namespace is another port.
    if (readNamespaceId(pid) !== id) continue;
    for (const { inode, fd } of listUses(pid) ?? []) {
      if (fd === null || known.has(inode) || native.localNameOf(pid, fd, local) < 0) continue;
      const address = decodeAddress(local, String);
      if (!ports.has(address.port)) continue;
      const processes = findProcesses([inode]).byInode.get(inode) ?? [];
      found.set(inode, { ...boundHolder(address), processes, namespace: namespace?.id ?? null });
      known.add(inode);
    }
  }
  return [...found.values()];
}

/** A holder of which only the address is known. */
function boundHolder(local: Address): Holder {
  const unknown = { peer: null, state: null, processes: [], user: null, namespace: null, leftMs: null };
  return { kind: "bound", local, ...unknown, direction: null, isV6Only: null, isMultipath: false };
}

/** The holder that bind(2) implies when it fails and the kernel reports no socket that explains it. */
export function unknownHolder(local: Address): Holder {
  return { ...boundHolder(local), kind: "unknown" };
}
