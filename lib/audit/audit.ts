/** The audit: listeners of this host that may lose their port to a self-connect, and sockets joined to themselves. */
import os from "node:os";
import { readJoinedSockets, walkSockets } from "../kernel/dump.ts";
import type { PortFacts } from "../kernel/host.ts";
import { findRoute, OWN_NAMESPACE, readPortFacts, sandbox } from "../kernel/host.ts";
import type { SocketRow, TableSocket, TableSource } from "../kernel/tables.ts";
import type { AlgorithmName, PortAlgorithm } from "../ports/algorithms.ts";
import { portAlgorithm, supposeAlgorithm } from "../ports/algorithms.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress, isSameAddress, isSameHost, unmap } from "../socket/address.ts";
import { checkPort } from "../socket/address-text.ts";
import { checkKeys, invalidArgument } from "../socket/misuse.ts";
import { holds } from "../socket/port-range.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import type { Destination } from "./destinations.ts";
import { DestinationCounter } from "./destinations.ts";
import type { Owner } from "./owners.ts";
import { findOwners } from "./owners.ts";
import type { ReserveCure } from "./reserve-cure.ts";
import { reserveCure } from "./reserve-cure.ts";
import type { PortRisk, Risk, Situation } from "./risk.ts";
import { assessPort } from "./risk.ts";

/** A socket that bind(2) put on a port, and its owner; null where the process is not visible. */
export interface PortOwner {
  readonly local: Address;
  readonly owner: Owner | null;
}

/** A listener, and whether the kernel can give its port to a client that reconnects while it is down. */
export interface ListenerRisk extends PortRisk, PortOwner {
  /** Sockets of other processes that keep the port from the kernel when the listener ends. */
  readonly heldBy: readonly PortOwner[];
}

/** A port that was asked for: whether a server there would be at risk. */
export interface AskedPort extends PortRisk {
  readonly port: number;
  /** The sockets that are on the port now. */
  readonly heldBy: readonly PortOwner[];
}

/** A socket joined to itself, now or until a moment ago. */
export interface JoinedSocket {
  readonly local: Address;
  readonly state: TcpState;
  readonly owner: Owner | null;
  /** The least age of the socket; null where the kernel does not report it. */
  readonly ageMs: number | null;
}

/** A client whose SYN to an address of this host is unanswered. It sends the SYN again. */
export interface Knocking {
  readonly local: Address;
  readonly peer: Address;
  readonly owner: Owner | null;
  readonly retransmits: number;
  /** Whether such a client can be joined to itself at its next attempt. */
  readonly risk: Exclude<Risk, "bind-first">;
  /** Why not; null when it can, and when that is unknown. */
  readonly because: string | null;
}

/** What audit() found in one network namespace, and the facts that it used. */
export interface Audit extends PortFacts {
  /** The algorithm by which this kernel picks ports, judged by its release. */
  readonly algorithm: AlgorithmName;
  readonly source: TableSource;
  readonly listeners: readonly ListenerRisk[];
  /** The ports that were asked for. */
  readonly ports: readonly AskedPort[];
  readonly joined: readonly JoinedSocket[];
  /** Self-connects in TIME-WAIT: no listener can start on their ports. */
  readonly leftovers: readonly JoinedSocket[];
  readonly knocking: readonly Knocking[];
  /** Destinations towards which a tenth of the ephemeral ports or more are in use. */
  readonly destinations: readonly Destination[];
  /** How to reserve the ports at risk; null without any. */
  readonly reserve: ReserveCure | null;
  /**
   * "found" when something is at risk, joined to itself or left behind; "unknown" when nothing of that was found, and
   * something could not be seen.
   */
  readonly verdict: "clean" | "found" | "unknown";
  /** What could not be seen. */
  readonly unseen: readonly string[];
}

/** What audit() assesses: every listener in the ephemeral range, or some ports. */
export interface AuditOptions {
  /** Assess these ports instead of the listeners, before choosing one for a server. */
  readonly ports?: readonly number[];
  /** A network namespace: an fd of it, and a process in it. When absent, the namespace of this process. */
  readonly namespace?: { readonly fd: number; readonly pid: number };
}

const TIME_WAIT_MS = 60_000;

/**
 * sock_diag(7), else /proc/net/tcp: reads the sockets of a network namespace. Changes nothing, connects to nothing, and
 * leaves the event loop free. Rejects when the sockets cannot be read; throws ERR_INVALID_PORT.
 */
export function audit(options: AuditOptions = {}): Promise<Audit> {
  checkKeys("audit()", options, ["ports", "namespace"]);
  if (options.ports?.length === 0) {
    throw invalidArgument("ERR_INVALID_PORT", "ports [] has no port: leave it out to assess the listeners");
  }
  for (const port of options.ports ?? []) checkPort(port);
  return runAudit(options);
}

async function runAudit({ ports: asked, namespace }: AuditOptions): Promise<Audit> {
  const namespaceFd = namespace?.fd ?? OWN_NAMESPACE;
  const facts = readPortFacts(namespaceFd);
  const table = await readTable(facts, namespaceFd);
  const self = await withAges(table.joined, namespaceFd);
  const owners = await findOwners([...table.bound, ...self, ...table.connecting].map(({ inode }) => inode));
  const ownerOf = ({ inode }: SocketRow) => owners.get(inode) ?? null;
  const bound = table.bound.map((row) => ({ ...row, owner: ownerOf(row) }));
  const byPort = groupByPort(bound);
  const socketsOn = (port: number) => byPort.get(port) ?? [];
  const situation: Situation = {
    facts,
    algorithm: hostAlgorithm(),
    heldPorts: new Set(byPort.keys()),
    findLocal: (peer) => findRoute(peer, namespaceFd),
  };
  const listeners = bound
    .filter(({ state, local }) => state === "LISTEN" && isAssessed(local.port, facts, asked))
    .map((one) => assessListener(one, socketsOn(one.local.port), situation))
    .sort(comparePorts);
  const ports = (asked ?? []).map((port) => assessAsked(port, socketsOn(port), situation));
  const joined = self
    .filter(({ state }) => state !== "TIME-WAIT")
    .map((row) => joinedSocket(row, ownerOf(row)));
  const leftovers = self.filter(({ state }) => state === "TIME-WAIT").map((row) => joinedSocket(row, null));
  const knocking = table.connecting
    .filter(({ peer }) => isKnockable(peer, situation))
    .map((row) => assessClient(row, ownerOf(row), situation));
  const risks = [...listeners, ...ports, ...knocking].map(({ risk }) => risk);
  const isFound = risks.some(isDangerous) || joined.length > 0 || leftovers.length > 0;
  const unseen = facts.ephemeralRange ? [] : ["net.ipv4.ip_local_port_range with ip_local_reserved_ports"];
  return {
    ...facts,
    algorithm: situation.algorithm.name,
    source: table.source,
    listeners,
    ports,
    joined,
    leftovers,
    knocking,
    destinations: table.destinations.list(facts, situation.heldPorts),
    reserve: reserveCure(dangerousPorts(listeners, ports, knocking), facts, namespace?.pid ?? null),
    verdict: isFound ? "found" : unseen.length > 0 ? "unknown" : "clean",
    unseen,
  };
}

/** Whether a risk is one to act on. */
export function isDangerous(risk: Risk): boolean {
  return risk === "at-risk" || risk === "bind-first";
}

interface Table {
  readonly source: TableSource;
  /** Sockets that listen, or are bound and neither listen nor connect. */
  readonly bound: readonly SocketRow[];
  readonly joined: readonly SocketRow[];
  readonly connecting: readonly SocketRow[];
  readonly destinations: DestinationCounter;
}

/** Reads the table once, and sorts its sockets. */
async function readTable(facts: PortFacts, namespaceFd: number): Promise<Table> {
  const bound: SocketRow[] = [];
  const joined: SocketRow[] = [];
  const connecting: SocketRow[] = [];
  const destinations = new DestinationCounter(facts.ephemeralRange);
  const heldPorts = new Set<number>();
  const visit = (socket: TableSocket) => {
    const { state } = socket;
    if (state === "LISTEN" || state === "CLOSED") {
      bound.push(socket.keep()());
      heldPorts.add(socket.localPort);
    } else if (socket.isJoined) {
      joined.push(socket.keep()());
    } else if (!heldPorts.has(socket.localPort)) {
      // The kernel lists listeners first. What they have accepted uses no port that connect(2) could pick.
      destinations.add(socket);
    }
    if (state === "SYN-SENT") connecting.push(socket.keep()());
  };
  return { source: await walkSockets(visit, namespaceFd), bound, joined, connecting, destinations };
}

/** Judged by the release and not by observed ports, because an audit makes no connection. */
function hostAlgorithm(): PortAlgorithm {
  return sandbox() === "gvisor" ? portAlgorithm("hash-based") : supposeAlgorithm("connect", os.release());
}

/** Adds the age of the live ones by a second dump, of their ports only: reading it for every socket is expensive. */
async function withAges(rows: readonly SocketRow[], namespaceFd: number): Promise<SocketRow[]> {
  const live = rows.filter(({ state }) => state !== "TIME-WAIT").map(({ local }) => local.port);
  if (live.length === 0) return [...rows];
  const bounds = live.reduce(
    ({ low, high }, port) => ({ low: Math.min(low, port), high: Math.max(high, port) }),
    { low: live[0]!, high: live[0]! },
  );
  const again = await readJoinedSockets(bounds, namespaceFd);
  const byInode = new Map(again.map((row) => [row.inode, row]));
  return rows.map((row) => (row.inode !== 0 ? (byInode.get(row.inode) ?? row) : row));
}

/** Where the range is unknown, every listener may be in it. */
function isAssessed(
  port: number,
  { ephemeralRange }: PortFacts,
  asked: readonly number[] | undefined,
): boolean {
  if (asked) return asked.includes(port);
  return ephemeralRange === null || holds(ephemeralRange, port);
}

type BoundSocket = SocketRow & PortOwner;

function groupByPort(bound: readonly BoundSocket[]): Map<number, BoundSocket[]> {
  const groups = new Map<number, BoundSocket[]>();
  for (const one of bound) {
    const group = groups.get(one.local.port);
    if (group) group.push(one);
    else groups.set(one.local.port, [one]);
  }
  return groups;
}

function assessListener(
  listener: BoundSocket,
  samePort: readonly BoundSocket[],
  situation: Situation,
): ListenerRisk {
  const { local, owner } = listener;
  const heldBy = samePort.filter((other) => isOtherHolder(listener, other)).map(toPortOwner);
  return { local, owner, ...assessPort(local, heldBy.length > 0, situation), heldBy };
}

/**
 * Whether another socket keeps the port when the listener ends. Sockets of the same process end with it, and so do
 * those on the same address: only SO_REUSEPORT allows that, and its sockets are of one service. When an owner is not
 * visible, sockets of one user may be of one process.
 */
function isOtherHolder(listener: BoundSocket, other: BoundSocket): boolean {
  if (isSameAddress(other.local, listener.local)) return false;
  if (!listener.owner || !other.owner) return other.uid !== listener.uid;
  return other.owner.pid !== listener.owner.pid;
}

/** Judged as if nothing were on the port: a server there would be at risk when it is down. */
function assessAsked(port: number, samePort: readonly BoundSocket[], situation: Situation): AskedPort {
  const heldBy = samePort.map(toPortOwner);
  return { port, ...assessPort({ family: 4, host: "127.0.0.1", port }, false, situation), heldBy };
}

function toPortOwner({ local, owner }: PortOwner): PortOwner {
  return { local, owner };
}

function joinedSocket(row: SocketRow, owner: Owner | null): JoinedSocket {
  const leftMs = row.state === "TIME-WAIT" ? row.timerMs : null;
  const ageMs = leftMs === null ? row.quietMs : Math.max(0, TIME_WAIT_MS - leftMs);
  return { local: row.local, state: row.state, owner, ageMs };
}

/** Whether the peer is an ephemeral port of an address of this namespace. */
function isKnockable(peer: Address, { facts, findLocal }: Situation): boolean {
  const { host } = unmap(peer);
  const isOwn = host.startsWith("127.") || findLocal(peer)?.host === host;
  return isOwn && (facts.ephemeralRange === null || holds(facts.ephemeralRange, peer.port));
}

function assessClient(
  { local, peer, retransmits }: SocketRow,
  owner: Owner | null,
  situation: Situation,
): Knocking {
  const client = { local, peer, owner, retransmits };
  if (!isSameHost(local, peer)) {
    return { ...client, risk: "safe", because: `its own address is ${local.host}, not ${peer.host}` };
  }
  const { risk, never } = assessPort(peer, situation.heldPorts.has(peer.port), situation);
  if (risk === "held") return { ...client, risk, because: `a socket holds ${formatAddress(peer)}` };
  if (risk !== "bind-first") return { ...client, risk, because: never?.because ?? null };
  // Its local port shows whether it called bind(2) first: the kernel then picks from the other parity.
  const isBound = (local.port - situation.facts.ephemeralRange!.low) % 2 !== 0;
  return isBound
    ? { ...client, risk: "at-risk", because: null }
    : { ...client, risk: "safe", because: never!.because };
}

function dangerousPorts(
  listeners: readonly ListenerRisk[],
  ports: readonly AskedPort[],
  knocking: readonly Knocking[],
): number[] {
  return [
    ...listeners.filter(({ risk }) => isDangerous(risk)).map(({ local }) => local.port),
    ...ports.filter(({ risk }) => isDangerous(risk)).map(({ port }) => port),
    ...knocking.filter(({ risk }) => isDangerous(risk)).map(({ peer }) => peer.port),
  ];
}

function comparePorts(one: PortOwner, other: PortOwner): number {
  return one.local.port - other.local.port || one.local.family - other.local.family;
}
