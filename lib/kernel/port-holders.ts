/** Finds every socket that holds a port, those that neither listen nor are connected included. */

import type { Address } from "../socket/address.ts";
import { dropScope, encodeAddress, isSameHost, unmap } from "../socket/address.ts";
import { interfaceIndex } from "../socket/address-bytes.ts";
import { errnoName, SocketError } from "../socket/errors.ts";
import { loadNative } from "../socket/native.ts";
import type { PortRange } from "../socket/port-range.ts";
import { isUnspecified } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import { TCP_STATES } from "../socket/tcp-state.ts";
import { OWN_NAMESPACE } from "./host.ts";
import type { NetworkNamespace } from "./namespaces.ts";
import { withNamespace } from "./namespaces.ts";
import type { SocketRow, TableSource } from "./tables.ts";
import { decodeRecord, FIELD, readDiag, readField, socketTable, TRAIT } from "./tables.ts";

/**
 * Which end of a connection a socket is: it has connected, or a listener created it. By tcpi_bytes_acked, in which the
 * kernel counts a SYN of one's own: Linux 4.19 and later, while nothing that was sent is unacknowledged and this end
 * has not closed. A connection that CRIU has restored is taken for an accepted one.
 */
export type Direction = "outgoing" | "accepted";

/** A socket that holds a port, with what identifies it. */
export interface PortHolder extends SocketRow {
  /** SO_COOKIE, the low word first: no other socket since boot has the same. Null in /proc/net/tcp. */
  readonly cookie: readonly [number, number] | null;
  /** SO_BINDTODEVICE: the index of the interface, or 0. */
  readonly interfaceIndex: number;
  /** IPV6_V6ONLY of a socket that listens or is bound. Null in /proc/net/tcp, which does not have it. */
  readonly isV6Only: boolean | null;
  /** Whether it is a subflow of Multipath TCP. */
  readonly isMultipath: boolean;
  /** Which end of a connection it is; null when the kernel does not tell, and for what is no connection. */
  readonly direction: Direction | null;
  /** Null for the network namespace of this process. */
  readonly namespace: NetworkNamespace | null;
}

/** The sockets that hold a port, and how they were found. */
export interface FoundHolders {
  readonly holders: readonly PortHolder[];
  readonly source: TableSource;
}

/**
 * sock_diag(7): finds every TCP socket whose local port is in the range, in this process's network namespace or another
 * one. `direction` is asked for where the range is one port, because TCP_INFO of many sockets is expensive. A socket
 * that is bound and neither listens nor is connected is found since Linux 6.8: see showsBoundSockets().
 * Null when the other namespace is gone or not permitted. Throws ENOENT when there is neither sock_diag nor
 * /proc/net/tcp.
 */
export function findPortHolders(localPorts: PortRange): FoundHolders;
export function findPortHolders(
  localPorts: PortRange,
  namespace: NetworkNamespace | null,
): FoundHolders | null;
export function findPortHolders(
  localPorts: PortRange,
  namespace: NetworkNamespace | null = null,
): FoundHolders | null {
  const found = namespace
    ? withNamespace(namespace, (fd) => dump(localPorts, namespace, fd))
    : dump(localPorts, null, OWN_NAMESPACE);
  if (found) return { holders: found.filter(isHolder), source: "sock_diag" };
  if (namespace) return null;
  const rows = socketTable().filter(
    ({ local }) => local.port >= localPorts.low && local.port <= localPorts.high,
  );
  const unknown = {
    ...{ cookie: null, interfaceIndex: 0, isV6Only: null, isMultipath: false },
    ...{ direction: null, namespace: null },
  };
  return { holders: rows.map((row) => ({ ...row, ...unknown })).filter(isHolder), source: "proc" };
}

function dump(localPorts: PortRange, namespace: NetworkNamespace | null, fd: number): PortHolder[] | null {
  const filter = { states: TCP_STATES, localPorts, details: localPorts.low === localPorts.high };
  const decode = (records: Uint8Array, at: number) => decodeHolder(records, at, namespace);
  const [four, six] = ([4, 6] as const).map((family) => readDiag(family, filter, decode, fd));
  return four && six ? [...four, ...six] : null;
}

/** sock_diag(7): the inodes of the outgoing connections on a port, as far as the kernel tells which they are. */
export function findOutgoing(port: number, namespaceFd: number): ReadonlySet<number> {
  const holders = dump({ low: port, high: port }, null, namespaceFd) ?? [];
  return new Set(holders.filter(({ direction }) => direction === "outgoing").map(({ inode }) => inode));
}

/** A request for which a listener has not created a socket yet holds nothing. */
function isHolder({ state, inode }: PortHolder): boolean {
  return state !== "SYN-RECEIVED" || inode !== 0;
}

function decodeHolder(records: Uint8Array, at: number, namespace: NetworkNamespace | null): PortHolder {
  const field = (index: number) => readField(records, at, index);
  const traits = field(FIELD.traits);
  return {
    ...decodeRecord(records, at),
    cookie: [field(FIELD.cookieLow), field(FIELD.cookieHigh)],
    interfaceIndex: field(FIELD.interface),
    isV6Only: (traits & TRAIT.isV6Only) !== 0,
    isMultipath: (traits & TRAIT.isMultipath) !== 0,
    direction: directionOf(traits),
    namespace,
  };
}

function directionOf(traits: number): Direction | null {
  if ((traits & TRAIT.isOutgoing) !== 0) return "outgoing";
  return (traits & TRAIT.isAccepted) !== 0 ? "accepted" : null;
}

/**
 * Whether bind(2) to `asked` conflicts with a socket on the same port: the same address, or one of them unspecified.
 * The kernel takes [::] for every address of both families unless IPV6_V6ONLY is set; so do we where that is not known.
 */
export function overlaps(held: Address, isV6Only: boolean | null, asked: Address): boolean {
  const [one, other] = [unmap(held), unmap(asked)];
  const isDual = (address: Address, only: boolean | null) => address.host === "::" && !only;
  if (isDual(one, isV6Only) || isDual(other, false)) return true;
  if (one.family !== other.family) return false;
  return isUnspecified(one) || isUnspecified(other) || isHeldHost(one, other);
}

/**
 * Whether a socket of this network namespace's table has the host and interface that were asked for: the table has the
 * interface's index, and a caller its name or its index.
 */
export function isHeldHost(held: Address, asked: Address): boolean {
  if (held.scope === undefined || asked.scope === undefined) return isSameHost(held, asked);
  const [one, other] = [held.scope, asked.scope].map((scope) => interfaceIndex(scope, loadNative()));
  return one === other && isSameHost(dropScope(held), dropScope(asked));
}

/**
 * Whether sock_diag(7) reports sockets that are bound and neither listen nor are connected: Linux 6.8 and later. Asked
 * by binding a socket to a port that the kernel picks, and looking for it; false where that is not possible.
 */
export function showsBoundSockets(): boolean {
  using socket = TcpSocket.open(4);
  try {
    socket.bind({ family: 4, host: "0.0.0.0", port: 0 });
  } catch (error) {
    if (error instanceof SocketError) return false; // The ephemeral range is exhausted.
    throw error;
  }
  const { port } = socket.getsockname();
  const { holders, source } = findPortHolders({ low: port, high: port });
  return source === "sock_diag" && holders.some(({ state }) => state === "CLOSED");
}

const NOBODY: Address = { family: 4, host: "0.0.0.0", port: 0 };
/** No cookie is so high: the kernel counts up from 1. Both words at their highest would match any socket. */
const NO_COOKIE = [0, 2 ** 32 - 2] as const;

/**
 * SOCK_DESTROY of a socket that does not exist: whether this kernel can end a connection of another process
 * (CONFIG_INET_DIAG_DESTROY, and tcp_diag). Needs no privilege, and ends nothing.
 */
export function canDestroySockets(): boolean {
  const nobody = encodeAddress(NOBODY);
  const result = loadNative().destroy(nobody, nobody, Uint32Array.of(0, ...NO_COOKIE), OWN_NAMESPACE);
  return errnoName(result) === "ENOENT";
}
