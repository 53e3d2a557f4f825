/** The audit: listeners of this host that may lose their port to a self-connect, and sockets joined to themselves. */
import os from "node:os";
import { setImmediate as turn } from "node:timers/promises";
import { readJoinedSockets } from "../kernel/dump.ts";
import type { PortFacts } from "../kernel/host.ts";
import { findRoute, findSandbox, OWN_NAMESPACE, readPortFacts, sysctl } from "../kernel/host.ts";
import type { FoundProcesses, Process } from "../kernel/owners.ts";
import { readUsers } from "../kernel/owners.ts";
import { findOutgoing, overlaps } from "../kernel/port-holders.ts";
import { namesWalk } from "../kernel/release.ts";
import type { SocketRow, TableSource } from "../kernel/tables.ts";
import type { AlgorithmName } from "../ports/algorithms.ts";
import { portAlgorithm, supposeAlgorithm } from "../ports/algorithms.ts";
import type { Address } from "../socket/address.ts";
import { isSameAddress, isSameHost, unmap } from "../socket/address.ts";
import { checkPort } from "../socket/address-text.ts";
import { checkArray, checkKeys, invalidArgument } from "../socket/misuse.ts";
import { holds } from "../socket/port-range.ts";
import { isSelfConnect } from "../socket/self-connect.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import type { Destination, TimeWaitReuse } from "./destinations.ts";
import { readTimeWaitReuse, reuseCure } from "./destinations.ts";
import { describeHolder } from "./holder-words.ts";
import type { HolderKind } from "./holders.ts";
import { groupByPort } from "./holders.ts";
import { findOwners } from "./owners.ts";
import type { ReserveCure } from "./reserve-cure.ts";
import { reserveCure } from "./reserve-cure.ts";
import type { HeldAddress, PortRisk, Risk, Situation } from "./risk.ts";
import { RiskAssessor } from "./risk.ts";
import type { BoundRow, ConnectionOnPort, SortedTable } from "./sorted-table.ts";
import { readSortedTable } from "./sorted-table.ts";
import type { SysctlCure } from "./sysctl-cure.ts";

/** A socket, what it is in the words of explainBind(), and a process that has it open. */
export interface PortOwner {
  /** The local address of the socket. */
  readonly local: Address;
  /** A sentence without its subject, the address: "listens: pid 4242 (node, user www)". */
  readonly is: string;
  /** Null where no process has it open, and where none is visible. */
  readonly owner: Process | null;
}

/** A listener, and whether the kernel can give its port to a client that reconnects while it is down. */
export interface ListenerRisk extends PortRisk, PortOwner {
  /** Sockets of other processes, accepted ones too, that keep the port from the kernel when the listener ends. */
  readonly heldBy: readonly PortOwner[];
}

/** A port that was asked for: whether a server there would be at risk. */
export interface AskedPort extends PortRisk {
  /** The port, as it was asked for. */
  readonly port: number;
  /** The sockets that are on the port now. */
  readonly heldBy: readonly PortOwner[];
}

/** A socket joined to itself, now or until a moment ago. */
export interface JoinedSocket extends PortOwner {
  /** Its TCP state. */
  readonly state: TcpState;
  /** The least age of the socket; null where the kernel does not report it. */
  readonly ageMs: number | null;
}

/** A client whose SYN to an address of this host is unanswered. It sends the SYN again. */
export interface Knocking extends PortOwner {
  /** The address that it connects to. */
  readonly peer: Address;
  /** How often its SYN was sent again. */
  readonly retransmits: number;
  /** Whether such a client can be joined to itself at its next attempt. */
  readonly risk: Exclude<Risk, "bind-first">;
  /** Why not; null when it can, and when that is unknown. */
  readonly because: string | null;
}

/** What audit() found in one network namespace, and the facts that it used. */
export interface Audit extends PortFacts {
  /** How this kernel picks ports; "unknown" where its release does not say so: predict() observes it. */
  readonly algorithm: AlgorithmName | "unknown";
  /** Where the sockets were read from. */
  readonly source: TableSource;
  /** The listeners inside the ephemeral range, with their risk. */
  readonly listeners: readonly ListenerRisk[];
  /** The ports that were asked for. */
  readonly ports: readonly AskedPort[];
  /** Sockets that are joined to themselves now; TIME-WAIT is in `leftovers`. */
  readonly joined: readonly JoinedSocket[];
  /** Self-connects in TIME-WAIT: no listener can start on their ports. */
  readonly leftovers: readonly JoinedSocket[];
  /** Clients whose SYN to an ephemeral port of this host is unanswered. */
  readonly knocking: readonly Knocking[];
  /** Destinations towards which a tenth of the ephemeral ports or more are in use. */
  readonly destinations: readonly Destination[];
  /** net.ipv4.tcp_tw_reuse: for which destinations connect(2) takes ports from TIME-WAIT. */
  readonly timeWaitReuse: TimeWaitReuse;
  /** False when the process of some socket may not be visible: its descriptors are readable by root only. */
  readonly seesAllProcesses: boolean;
  /** How to reserve the ports at risk; null without any. */
  readonly reserve: ReserveCure | null;
  /** How to let connect(2) take ports from TIME-WAIT; null where that is so, and where it would not help. */
  readonly reuse: SysctlCure | null;
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
const TURN_MS = 5;

/**
 * sock_diag(7), else /proc/net/tcp: reads the sockets of a network namespace. Changes nothing, connects to nothing, and
 * leaves the event loop free. Rejects when the sockets cannot be read; throws ERR_INVALID_PORT.
 *
 * @example
 * import { audit } from "selfconnect/audit";
 *
 * const { verdict, ports } = await audit({ ports: [8080] });
 * console.log(verdict, ports[0].risk); // clean safe
 */
export function audit(options: AuditOptions = {}): Promise<Audit> {
  checkKeys("audit()", options, ["ports", "namespace"]);
  if (options.ports !== undefined) checkArray("audit() takes an array of ports", options.ports);
  if (options.ports?.length === 0) {
    throw invalidArgument("ERR_INVALID_PORT", "ports [] has no port: leave it out to assess the listeners");
  }
  for (const port of options.ports ?? []) checkPort(port);
  return runAudit(options);
}

async function runAudit({ ports: asked, namespace }: AuditOptions): Promise<Audit> {
  const namespaceFd = namespace?.fd ?? OWN_NAMESPACE;
  const facts = readPortFacts(namespaceFd);
  const timeWaitReuse = readTimeWaitReuse(namespaceFd);
  const table = await readSortedTable(facts, timeWaitReuse, namespaceFd);
  const self = await withAges(table.joined, namespaceFd);
  const processes = await findOwners(inodesOf(table, self));
  const describer = new Describer(processes.byInode);
  const byPort = groupByPort(table.bound.map((row) => ({ ...row, ...describer.describe(row) })));
  const heldPorts = new Set(byPort.keys());
  const situation: Situation = {
    facts,
    ...hostAlgorithm(),
    held: table.bound,
    connectedPorts: table.connectedPorts,
    stepWidth: Number(sysctl("net.ipv4.ip_local_port_step_width", namespaceFd) ?? 0),
    findLocal: (peer) => findRoute(peer, namespaceFd),
  };
  const assessor = new RiskAssessor(situation);
  const breaks = new Breaks();
  const listeners: ListenerRisk[] = [];
  for (const [port, sockets] of byPort) {
    if (!isAssessed(port, facts, asked)) continue;
    const found = new ListenedPort(sockets, table.accepted.get(port) ?? [], describer, namespaceFd);
    for (const listener of sockets.filter(({ state }) => state === "LISTEN")) {
      listeners.push(assessListener(listener, found.findOthers(listener), assessor));
      await breaks.yieldWhenDue();
    }
  }
  listeners.sort(comparePorts);
  const ports = (asked ?? []).map((port) => assessAsked(port, byPort.get(port) ?? [], assessor));
  const joined = self.filter(({ state }) => state !== "TIME-WAIT").map((row) => joinedSocket(row, describer));
  const leftovers = self
    .filter(({ state }) => state === "TIME-WAIT")
    .map((row) => joinedSocket(row, describer));
  const knocking = table.connecting
    .filter(({ peer }) => isKnockable(peer, situation))
    .map((row) => ({ row, onPort: byPort.get(row.peer.port) ?? [] }))
    .map(({ row, onPort }) => ({
      ...describer.describe(row),
      ...assessClient(row, onPort, facts, assessor),
    }));
  const destinations = table.destinations.list(facts, heldPorts);
  const pid = namespace?.pid ?? null;
  const risks = [...listeners, ...ports, ...knocking].map(({ risk }) => risk);
  const isFound = risks.some(isDangerous) || joined.length > 0 || leftovers.length > 0;
  const unseen = facts.ephemeralRange ? [] : ["net.ipv4.ip_local_port_range with ip_local_reserved_ports"];
  return {
    ...facts,
    algorithm: situation.isAlgorithmKnown ? situation.algorithm.name : "unknown",
    source: table.source,
    listeners,
    ports,
    joined,
    leftovers,
    knocking,
    destinations,
    timeWaitReuse,
    seesAllProcesses: processes.isComplete,
    reserve: reserveCure(dangerousPorts(listeners, ports, knocking), facts, pid),
    reuse: reuseCure(destinations, timeWaitReuse, pid),
    verdict: isFound ? "found" : unseen.length > 0 ? "unknown" : "clean",
    unseen,
  };
}

/** Whether a risk is one to act on. */
export function isDangerous(risk: Risk): boolean {
  return risk === "at-risk" || risk === "bind-first";
}

function* inodesOf(table: SortedTable, joined: readonly SocketRow[]): Generator<number> {
  for (const rows of [table.bound, joined, table.connecting, ...table.accepted.values()]) {
    for (const { inode } of rows) yield inode;
  }
}

/** Judged by the release and not by observed ports, because an audit makes no connection. */
function hostAlgorithm(): Pick<Situation, "algorithm" | "isAlgorithmKnown"> {
  if (findSandbox() === "gvisor") return { algorithm: portAlgorithm("hash-based"), isAlgorithmKnown: true };
  const release = os.release();
  return { algorithm: supposeAlgorithm("connect", release), isAlgorithmKnown: namesWalk(release) };
}

/** Names sockets as explainBind() does. */
class Describer {
  readonly processes: FoundProcesses["byInode"];
  readonly #users = readUsers();

  constructor(processes: FoundProcesses["byInode"]) {
    this.processes = processes;
  }

  /** One process is enough to find a socket by; explainBind() names all of them. */
  describe(row: SocketRow & Partial<BoundRow>): PortOwner {
    const { inode, local, peer, state, uid, timerMs, isV6Only = false, isMultipath = false } = row;
    const processes = this.processes.get(inode)?.slice(0, 1) ?? [];
    const user = inode === 0 ? null : (this.#users.get(uid) ?? String(uid));
    const leftMs = state === "TIME-WAIT" ? timerMs : null;
    const kind = kindOf(row);
    const holder = { kind, local, peer, state, processes, user, leftMs, isV6Only, isMultipath };
    const is = describeHolder({ ...holder, direction: null, namespace: null });
    return { local, is, owner: processes[0] ?? null };
  }
}

/** The kinds of sockets that the audit names. */
function kindOf({ state, local, peer }: SocketRow): HolderKind {
  if (state === "LISTEN") return "listener";
  if (state === "CLOSED") return "bound";
  if (isSelfConnect(local, peer)) return state === "TIME-WAIT" ? "self-connect-time-wait" : "self-connect";
  return state === "SYN-SENT" ? "connecting" : "accepted";
}

/** Yields to the event loop when this turn has taken some milliseconds. */
class Breaks {
  #since = performance.now();

  async yieldWhenDue(): Promise<void> {
    if (performance.now() - this.#since < TURN_MS) return;
    await turn();
    this.#since = performance.now();
  }
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

type BoundSocket = BoundRow & PortOwner;

/** The sockets on the port of a listener. */
class ListenedPort {
  readonly #bound: readonly BoundSocket[];
  readonly #connections: readonly ConnectionOnPort[];
  readonly #describer: Describer;
  readonly #namespaceFd: number;
  /** By the first of the processes that have it open. */
  #byProcess: ReadonlyMap<number, readonly ConnectionOnPort[]> | null = null;
  /** The inodes of the outgoing connections: asked once, and only where one decides. */
  #outgoing: ReadonlySet<number> | null = null;

  constructor(
    bound: readonly BoundSocket[],
    connections: readonly ConnectionOnPort[],
    describer: Describer,
    namespaceFd: number,
  ) {
    this.#bound = bound;
    this.#connections = connections;
    this.#describer = describer;
    this.#namespaceFd = namespaceFd;
  }

  /**
   * The sockets that stay on the port when the processes of the listener end. When an owner is not visible, sockets of
   * one user may be of one process, and a connection may be of any.
   */
  findOthers(listener: BoundSocket): (PortOwner & HeldAddress)[] {
    const own = new Set(this.#pidsOf(listener));
    const stays = (pids: readonly number[]) => pids.length > 0 && !pids.some((pid) => own.has(pid));
    const bound = this.#bound.filter((other) => {
      // Only SO_REUSEPORT lets two listen on the same address, and they are of one service.
      if (other.state === "LISTEN" && isSameAddress(other.local, listener.local)) return false;
      const pids = this.#pidsOf(other);
      return own.size === 0 || pids.length === 0 ? other.uid !== listener.uid : stays(pids);
    });
    const accepted = own.size === 0 ? [] : this.#acceptedBy(listener, own);
    return [...bound, ...accepted.map((row) => ({ ...this.#describer.describe(row), isV6Only: false }))];
  }

  /**
   * One connection of each process that stays. Only those to the listener's address were accepted there. An outgoing
   * connection may be on a port that connect(2) gave it, and gives to others as well; whether its client had bound the
   * port, which keeps it, no kernel tells.
   */
  #acceptedBy({ local, isV6Only }: BoundSocket, own: ReadonlySet<number>): SocketRow[] {
    const firstOf = (connections: readonly ConnectionOnPort[]) => {
      for (const connection of connections) {
        if (this.#pidsOf(connection).some((pid) => own.has(pid))) continue;
        const row = connection.decode();
        if (overlaps(local, isV6Only, row.local) && !this.#isOutgoing(row)) return [row];
      }
      return [];
    };
    const others = [...this.#connectionsByProcess()].filter(([pid]) => !own.has(pid));
    return others.flatMap(([, connections]) => firstOf(connections));
  }

  #isOutgoing({ inode, local }: SocketRow): boolean {
    this.#outgoing ??= findOutgoing(local.port, this.#namespaceFd);
    return this.#outgoing.has(inode);
  }

  #pidsOf({ inode }: { readonly inode: number }): number[] {
    return (this.#describer.processes.get(inode) ?? []).map(({ pid }) => pid);
  }

  #connectionsByProcess(): ReadonlyMap<number, readonly ConnectionOnPort[]> {
    if (this.#byProcess) return this.#byProcess;
    const found = new Map<number, ConnectionOnPort[]>();
    for (const connection of this.#connections) {
      const [pid] = this.#pidsOf(connection);
      if (pid === undefined) continue;
      const known = found.get(pid);
      if (known) known.push(connection);
      else found.set(pid, [connection]);
    }
    this.#byProcess = found;
    return found;
  }
}

function assessListener(
  listener: BoundSocket,
  others: readonly (PortOwner & HeldAddress)[],
  assessor: RiskAssessor,
): ListenerRisk {
  return { ...toPortOwner(listener), ...assessor.assess(listener, others), heldBy: others.map(toPortOwner) };
}

/** Judged as if nothing were on the port: a server there would be at risk when it is down. */
function assessAsked(port: number, samePort: readonly BoundSocket[], assessor: RiskAssessor): AskedPort {
  const heldBy = samePort.map(toPortOwner);
  const local: Address = { family: 4, host: "127.0.0.1", port };
  return { port, ...assessor.assess({ local, isV6Only: false }, []), heldBy };
}

function toPortOwner({ local, is, owner }: PortOwner): PortOwner {
  return { local, is, owner };
}

function joinedSocket(row: SocketRow, describer: Describer): JoinedSocket {
  const leftMs = row.state === "TIME-WAIT" ? row.timerMs : null;
  const ageMs = leftMs === null ? row.quietMs : Math.max(0, TIME_WAIT_MS - leftMs);
  return { ...describer.describe(row), state: row.state, ageMs };
}

/** Whether the peer is an ephemeral port of an address of this namespace. */
function isKnockable(peer: Address, { facts, findLocal }: Situation): boolean {
  const { host } = unmap(peer);
  const isOwn = host.startsWith("127.") || findLocal(peer)?.host === host;
  return isOwn && (facts.ephemeralRange === null || holds(facts.ephemeralRange, peer.port));
}

function assessClient(
  { local, peer, retransmits }: SocketRow,
  onPort: readonly BoundSocket[],
  { ephemeralRange }: PortFacts,
  assessor: RiskAssessor,
): Omit<Knocking, keyof PortOwner> {
  const client = { peer, retransmits };
  if (!isSameHost(local, peer)) {
    return { ...client, risk: "safe", because: `its own address is ${local.host}, not ${peer.host}` };
  }
  const { risk, never } = assessor.assess({ local: peer, isV6Only: false }, onPort);
  if (risk !== "bind-first") return { ...client, risk, because: never?.because ?? null };
  // Its local port shows whether it called bind(2) first: the kernel then picks from the other parity.
  const isBound = (local.port - ephemeralRange!.low) % 2 !== 0;
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
