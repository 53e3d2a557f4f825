/** Observes which local ports the kernel picks, by asking for many. */

import { setImmediate as turn } from "node:timers/promises";
import { isOwnAddress, portFacts } from "../kernel/host.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, formatAddress, isSameAddress } from "../socket/address.ts";
import { findFreePort } from "../socket/free-port.ts";
import { invalidArgument } from "../socket/misuse.ts";
import type { PortRange } from "../socket/port-range.ts";
import { TcpSocket } from "../socket/socket.ts";
import { supported } from "../socket/supported.ts";
import type { Method } from "./method.ts";
import { METHODS } from "./method.ts";
import type { NamespacePicks } from "./namespace.ts";
import { pickInNamespaces } from "./namespace.ts";

/** A peer need not be in the ephemeral range to be connected to. */
const UNPRIVILEGED: PortRange = { low: 1024, high: 65_535 };

/** The local ports that the kernel picked, in order, and when. */
export interface Observation {
  readonly method: Method;
  /** Where the run went, then the others of the weave. */
  readonly peers: readonly Address[];
  /** The local ports of the run, in order. */
  readonly ports: Uint16Array;
  /** When each was picked, in milliseconds since the first. */
  readonly atMs: Float64Array;
  /** Attempts to all peers in turn, right after the run: one array of ports for each peer; none for bind(2). */
  readonly weave: readonly Uint16Array[];
  /** Picks in other network namespaces, where that was asked for. */
  readonly namespaces?: NamespacePicks;
}

/** Which ports to observe, and how many. */
export interface SampleOptions {
  readonly peer: Address | string;
  readonly method?: Method;
  /** Attempts in the run. */
  readonly count: number;
  /** Makes network namespaces after the run, and looks whether they go on with its walk. */
  readonly namespaces?: boolean;
  /** Ends the sampling early: what was seen until then is the observation. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (attempts: number) => void;
}

/** One local port, and whether the socket joined itself on it. */
export interface Pick {
  readonly port: number;
  readonly isSelfConnect: boolean;
}

/** The event loop has its turn after so many. */
export const PICKS_PER_TURN = 256;
const WEAVE_ROUNDS = 64;
const MOST_PICKS = 100_000_000;

/**
 * Makes the attempts and keeps their ports. The peer is a dead port or a listener of this host: on Linux the
 * local port of a refused connect can be read with getsockname(2), so no listener is needed.
 */
export async function samplePorts(options: SampleOptions): Promise<Observation> {
  const { method = "connect", count, signal, onProgress } = options;
  const peer = checkAddress(options.peer);
  checkSample(peer, method, count);
  const pick = makePicker(method);
  const ports = new Uint16Array(count);
  const atMs = new Float64Array(count);
  const startedAt = performance.now();
  let made = 0;
  while (made < count && !signal?.aborted) {
    ports[made] = pick(peer).port;
    atMs[made] = performance.now() - startedAt;
    made++;
    if (made % PICKS_PER_TURN === 0) {
      onProgress?.(made);
      await turn();
    }
  }
  const peers = method === "bind" ? [peer] : [peer, ...otherPeers(peer)];
  const weave = peers.length > 1 && made === count ? weavePorts(peers, pick) : [];
  const observation = { method, peers, ports: ports.subarray(0, made), atMs: atMs.subarray(0, made), weave };
  if (!options.namespaces || made < count) return observation;
  return { ...observation, namespaces: await pickInNamespaces(peer, method, pick, signal) };
}

/** A function that asks for one local port. Throws ERR_OPTION_UNSUPPORTED where the method needs a later kernel. */
export function makePicker(method: Method): (peer: Address) => Pick {
  if (method === "bind") return pickByBind;
  if (method === "connect") return (peer) => pickByConnect(TcpSocket.open(peer.family), peer);
  if (method === "late-bind") return pickByLateBind;
  const range = wholeRange();
  return (peer) => pickByConnect(TcpSocket.open(peer.family, { localPortRange: range }), peer);
}

function wholeRange(): PortRange {
  const range = portFacts().ephemeralRange;
  if (range && supported("localPortRange")) return range;
  const message = "method range needs IP_LOCAL_PORT_RANGE (Linux 6.3 and later)";
  throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
}

/** bind(2) with port 0, and then connect(2) where the port is the peer's own: that is a self-connect. */
function pickByBind(peer: Address): Pick {
  using socket = TcpSocket.open(peer.family);
  const { port } = socket.bind({ ...peer, port: 0 }).getsockname();
  if (port !== peer.port) return { port, isSelfConnect: false };
  return pickByConnect(socket, peer);
}

function pickByLateBind(peer: Address): Pick {
  const socket = TcpSocket.open(peer.family, { bindAddressNoPort: true });
  return pickByConnect(socket.bind({ ...peer, port: 0 }), peer);
}

/** Connects, reads the name, and resets: a connection would leave TIME-WAIT behind, and its port would be skipped. */
function pickByConnect(socket: TcpSocket, peer: Address): Pick {
  try {
    socket.connect(peer);
    const local = socket.getsockname();
    // Every other outcome is known without asking: a socket can be joined to itself on the peer's port only.
    const isSelfConnect = local.port === peer.port && socket.isSelfConnected();
    return { port: local.port, isSelfConnect };
  } finally {
    socket.reset();
  }
}

/** The same host with another dead port, and another host of loopback with the same port. */
function otherPeers(peer: Address): Address[] {
  const dead = findFreePort(UNPRIVILEGED, {
    addresses: [peer],
    from: peer.port + 1,
    isWanted: (port) => port !== peer.port,
  });
  const others: Address[] = [{ ...peer, port: dead }];
  const isLoopback = peer.family === 4 && peer.host.startsWith("127.");
  if (isLoopback) others.push({ ...peer, host: peer.host === "127.0.0.2" ? "127.0.0.3" : "127.0.0.2" });
  return others.filter((other) => !isSameAddress(other, peer));
}

function weavePorts(peers: readonly Address[], pick: (peer: Address) => Pick): Uint16Array[] {
  const weave = peers.map(() => new Uint16Array(WEAVE_ROUNDS));
  for (let round = 0; round < WEAVE_ROUNDS; round++) {
    peers.forEach((peer, index) => {
      weave[index]![round] = pick(peer).port;
    });
  }
  return weave;
}

function checkSample(peer: Address, method: Method, count: number): void {
  if (!METHODS.includes(method)) {
    throw invalidArgument("ERR_UNKNOWN_METHOD", `"${method}" is not a method: use ${METHODS.join(", ")}`);
  }
  if (!Number.isInteger(count) || count < 1 || count > MOST_PICKS) {
    const message = `count ${count} is not a count: use 1 to ${MOST_PICKS}`;
    throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
  }
  if (isOwnAddress(peer)) return;
  const message = `${formatAddress(peer)} is not an address of this host: a loop aimed outward is a flood`;
  throw invalidArgument("ERR_NOT_THIS_HOST", message);
}
