/** Tests after EADDRNOTAVAIL from connect(2) whether the ephemeral range is exhausted towards a peer. */
import type { Address } from "../socket/address.ts";
import {
  checkAddress,
  dropScope,
  formatAddress,
  isSameAddress,
  isSameHost,
  unmap,
} from "../socket/address.ts";
import { SocketError } from "../socket/errors.ts";
import type { PortRange } from "../socket/port-range.ts";
import { clipRange, formatPortList, portCount } from "../socket/port-range.ts";
import type { RouteInput, RouteOrigin } from "../socket/route.ts";
import { checkRouteInput, sourceAddress } from "../socket/route.ts";
import { isUnspecified } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import { walkSockets } from "./dump.ts";
import { OWN_NAMESPACE, portFacts } from "./host.ts";
import type { TableSocket } from "./tables.ts";
import { ALL_PORTS } from "./tables.ts";

/** Whether the ephemeral range is exhausted towards one peer, and the counts that show it. */
export interface Exhaustion {
  /** The socket's own range (IP_LOCAL_PORT_RANGE), or the ephemeral range. */
  readonly range: PortRange;
  /** The address that the connections come from; null where the kernel has no route. */
  readonly local: Address | null;
  /** Ports of the range that a new connection from this address to this peer cannot use. */
  readonly portsInUse: number;
  /** False when a port of the range is free: the kernel lost a race for one, and the next connect may work. */
  readonly isReal: boolean;
  /** The counts as a sentence, as in the message of EADDRNOTAVAIL. */
  readonly text: string;
}

/** Counts in progress: when a range is exhausted, many connects fail at the same time and ask for the same. */
const counting = new Map<string, Promise<Exhaustion | null>>();

/**
 * sock_diag(7): counts the ports in use towards a peer, of the range and the local address of a socket with these
 * options (`localPortRange`) and this `local`. The kernel is asked on threads of the addon. If ports seem to be free,
 * bind(2) to port 0 decides: it works if and only if a port of the range has no socket. Null where the kernel reports
 * no range or no sockets.
 */
export function exhaustion(peer: Address | string, input: RouteInput = {}): Promise<Exhaustion | null> {
  const to = checkAddress(peer);
  const origin = checkRouteInput("exhaustion()", input);
  const { ephemeralRange } = portFacts();
  if (!ephemeralRange) return Promise.resolve(null);
  const own = origin.options?.localPortRange;
  const range = own ? clipRange(own, ephemeralRange) : ephemeralRange;
  const local = findSource(to, origin);
  const key = `${formatAddress(to)} ${local && formatAddress(local)} ${formatPortList([range])}`;
  const known = counting.get(key);
  if (known) return known;
  const count = judge(to, local, range, own !== undefined).finally(() => counting.delete(key));
  counting.set(key, count);
  return count;
}

async function judge(
  peer: Address,
  local: Address | null,
  range: PortRange,
  isOwnRange: boolean,
): Promise<Exhaustion | null> {
  const { reservedPorts } = portFacts();
  const used = await readUsedPorts(peer, local, range);
  if (!used) return null;
  const portsInUse = countPorts([...used, peer.port], range, reservedPorts);
  const ports = portCount(range);
  const isReal = portsInUse >= ports || !hasFreePort(peer, range, isOwnRange);
  const which = isOwnRange ? "socket's own range" : "ephemeral range";
  const sysctl = isOwnRange ? "IP_LOCAL_PORT_RANGE" : "net.ipv4.ip_local_port_range";
  const from = local ? `from ${local.host} ` : "";
  const rest = isReal && portsInUse < ports ? "; sockets that were bound first hold the others" : "";
  const text =
    `${portsInUse} of the ${ports} ports of the ${which} ${range.low}-${range.high} are in use ${from}towards this ` +
    `peer, reserved or listened on${rest} (${sysctl})`;
  return { range, local, portsInUse, isReal, text };
}

/** Reads the ports of the range that connect(2) skips; null where the kernel reports no sockets. */
async function readUsedPorts(
  peer: Address,
  local: Address | null,
  range: PortRange,
): Promise<Set<number> | null> {
  const used = new Set<number>();
  const isInTheWay = recognize(peer, local);
  try {
    await walkSockets(
      (socket) => void (isInTheWay(socket) && used.add(socket.localPort)),
      OWN_NAMESPACE,
      range,
    );
  } catch {
    return null; // Kernels other than Linux have neither sock_diag nor /proc/net/tcp.
  }
  return used;
}

/**
 * Whether connect(2) skips a socket's port: a socket that listens, or is bound and not connected, takes the port for
 * all peers; a connection takes it for the same four-tuple. One that was bound before it connected takes it for all
 * peers too, but sock_diag(7) does not show that.
 */
export function recognize(peer: Address, local: Address | null): (socket: TableSocket) => boolean {
  const to = unmap(dropScope(peer));
  // Most of the sockets of an exhausted range have the same path, and a decoded socket costs microseconds.
  const paths = new Map<string, boolean>();
  return (socket) => {
    if (socket.state === "LISTEN" || socket.state === "CLOSED") return true;
    if (socket.peerPort !== peer.port) return false;
    const known = paths.get(socket.path);
    if (known !== undefined) return known;
    const row = socket.keep()();
    const isSameSource = local === null || isSameHost(unmap(dropScope(row.local)), unmap(dropScope(local)));
    const isInTheWay = isSameSource && isSameAddress(unmap(dropScope(row.peer)), to);
    paths.set(socket.path, isInTheWay);
    return isInTheWay;
  };
}

/** Counts the ports of a range that are used or reserved. */
export function countPorts(used: Iterable<number>, range: PortRange, reserved: readonly PortRange[]): number {
  // An array of all ports, because a Set of a whole range takes milliseconds.
  const isTaken = new Uint8Array(ALL_PORTS.high + 1);
  for (const port of used) isTaken[port] = 1;
  for (const { low, high } of reserved) isTaken.fill(1, low, high + 1);
  return isTaken.subarray(range.low, range.high + 1).reduce((sum, taken) => sum + taken, 0);
}

/** The address that a connect comes from: that of bind(2), or of the route. */
function findSource(peer: Address, origin: RouteOrigin): Address | null {
  const { local } = origin;
  if (local && !isUnspecified(local)) return { ...local, port: 0 };
  try {
    const source = sourceAddress(peer, origin);
    return source && { ...source, port: 0 };
  } catch {
    return null; // EMFILE: the connect itself reports it.
  }
}

/**
 * bind(2) to port 0 of every address: the kernel finds a port of the range if and only if one has no socket at all.
 * The peer's port does not count, which the guard leaves out.
 */
function hasFreePort(peer: Address, range: PortRange, isOwnRange: boolean): boolean {
  using first = new Probe(range, isOwnRange);
  if (first.port !== peer.port) return first.port !== null;
  using second = new Probe(range, isOwnRange);
  return second.port !== null;
}

/** A socket that holds a free port while it is open. */
class Probe implements Disposable {
  /** Null when the kernel found none. */
  readonly port: number | null;
  readonly #socket: TcpSocket | null;

  constructor(range: PortRange, isOwnRange: boolean) {
    this.#socket = openAny(isOwnRange ? { localPortRange: range } : {});
    try {
      this.port = this.#socket?.getsockname().port ?? null;
    } catch (error) {
      this.#socket?.close();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#socket?.close();
  }
}

/** Binds to every address of both families, or of IPv4 where the host has no IPv6. Null when no port is free. */
function openAny(options: { readonly localPortRange?: PortRange }): TcpSocket | null {
  for (const [family, host] of [
    [6, "::"],
    [4, "0.0.0.0"],
  ] as const) {
    let socket: TcpSocket | null = null;
    try {
      socket = TcpSocket.open(family, family === 6 ? { ...options, ipv6Only: false } : options);
      return socket.bind({ family, host, port: 0 });
    } catch (error) {
      socket?.close();
      const isWithoutFamily = error instanceof SocketError && error.code !== "EADDRINUSE" && family === 6;
      if (!isWithoutFamily) return null;
    }
  }
  return null;
}
