/** The audit: listeners of this host that may lose their port to a self-connect, and sockets joined to themselves. */
import { readFileSync } from "node:fs";
import os from "node:os";
import type { PortFacts } from "../kernel/host.ts";
import { portFacts, sandbox } from "../kernel/host.ts";
import type { SocketRow, TableSource } from "../kernel/tables.ts";
import { ALL_PORTS, findSockets, socketOwners } from "../kernel/tables.ts";
import type { AlgorithmName, PortAlgorithm } from "../ports/algorithms.ts";
import { portAlgorithm, supposeAlgorithm } from "../ports/algorithms.ts";
import { unusablePorts, waitFor } from "../ports/model.ts";
import type { Never } from "../ports/predict.ts";
import { whyNever } from "../ports/predict.ts";
import type { Address } from "../socket/address.ts";
import { unmap } from "../socket/address.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds, parsePortList } from "../socket/port-range.ts";
import { canSelfConnect } from "../socket/route.ts";
import type { TcpState } from "../socket/tcp-state.ts";

/** The process that has a socket open, and where it runs. */
export interface Owner {
  readonly pid: number;
  readonly command: string;
  /** cgroups(7): the path in the unified hierarchy. It names the container. Null where it is not visible. */
  readonly cgroup: string | null;
}

/** Whether the kernel can pick this port for a client that reconnects to it while nothing listens there. */
export interface PortRisk {
  readonly local: Address;
  /** Null where the process is not visible, and for a port on which nobody listens yet. */
  readonly owner: Owner | null;
  readonly isAtRisk: boolean;
  /** Why the kernel never picks the port for a plain connect; null when it is at risk. */
  readonly never: Never | null;
  /** Mean time in milliseconds until one client is joined to itself; null when never. */
  readonly meanMs: { readonly everySecond: number; readonly fullSpeed: number } | null;
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
  /** Whether the kernel could pick the peer's port for it. */
  readonly isAtRisk: boolean;
}

/** What audit() found in this network namespace, and the facts that it used. */
export interface Audit extends PortFacts {
  /** The algorithm by which this kernel picks ports, judged by its release. */
  readonly algorithm: AlgorithmName;
  readonly source: TableSource;
  readonly listeners: readonly PortRisk[];
  readonly joined: readonly JoinedSocket[];
  /** Self-connects in TIME-WAIT: no listener can start on their ports. */
  readonly leftovers: readonly JoinedSocket[];
  readonly knocking: readonly Knocking[];
  /** The command that reserves the ports at risk, in addition to those already reserved; null without any. */
  readonly reserve: string | null;
  /** True when nothing is at risk and nothing is joined to itself. */
  readonly isClean: boolean;
}

/** What audit() assesses: every listener in the ephemeral range, or one port. */
export interface AuditOptions {
  /** Assess this port instead of the listeners, before choosing it for a server. */
  readonly port?: number;
}

const FULL_SPEED = 50_000;
const TIME_WAIT_MS = 60_000;
const WILDCARDS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** sock_diag(7) or /proc/net/tcp: reads the sockets of this network namespace. Changes nothing, connects to nothing. */
export function audit(options: AuditOptions = {}): Audit {
  const facts = portFacts();
  const range = facts.ephemeralRange ?? ALL_PORTS;
  const listening = findSockets({ states: ["LISTEN"], localPorts: range });
  const self = findJoinedSockets();
  const unanswered = findUnansweredSockets(range);
  const owners = findOwners([...listening.rows, ...self, ...unanswered]);
  const owner = (row: SocketRow) => owners.get(row.inode) ?? null;
  const owned = listening.rows.map((row) => row.local.port);
  const risk = (local: Address, by: Owner | null) => riskOf(local, by, facts, owned);
  const listeners =
    options.port === undefined
      ? listening.rows.map((row) => risk(row.local, owner(row))).sort(byPort)
      : [risk({ family: 4, host: "0.0.0.0", port: options.port }, null)];
  const joined = self.filter((row) => row.state !== "TIME-WAIT").map((row) => joinedSocket(row, owner(row)));
  const clients = unanswered.map((row) => unansweredClient(row, owner(row), facts));
  const isAtRisk = [...listeners, ...clients].some((one) => one.isAtRisk);
  return {
    ...facts,
    algorithm: hostAlgorithm().name,
    source: listening.source,
    listeners,
    joined,
    leftovers: self.filter((row) => row.state === "TIME-WAIT").map((row) => joinedSocket(row, null)),
    knocking: clients,
    reserve: reserveCommand(listeners, facts),
    isClean: !isAtRisk && joined.length === 0,
  };
}

/** Judged by the release and not by observed ports, because an audit makes no connection. */
function hostAlgorithm(): PortAlgorithm {
  return sandbox() === "gvisor" ? portAlgorithm("hash-based") : supposeAlgorithm("connect", os.release());
}

/** Sockets joined to themselves. Only live ones are queried again for their age: asking for every socket is slow. */
function findJoinedSockets(): SocketRow[] {
  const { rows } = findSockets({ joinedOnly: true });
  return rows.flatMap((row) => {
    const { port } = row.local;
    if (row.state === "TIME-WAIT" || row.state === "LISTEN") return row.state === "LISTEN" ? [] : [row];
    const again = findSockets({ joinedOnly: true, details: true, localPorts: { low: port, high: port } });
    return [again.rows.find((one) => one.inode === row.inode) ?? row];
  });
}

function findUnansweredSockets(range: PortRange): SocketRow[] {
  return findSockets({ states: ["SYN-SENT"] }).rows.filter(
    ({ peer }) => holds(range, peer.port) && canSelfConnect(peer),
  );
}

function findOwners(rows: readonly SocketRow[]): Map<number, Owner> {
  const found = socketOwners(rows.map((row) => row.inode));
  return new Map([...found].map(([inode, owner]) => [inode, { ...owner, cgroup: readCgroup(owner.pid) }]));
}

function readCgroup(pid: number): string | null {
  try {
    return parseCgroup(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  } catch {
    return null; // The process has ended, or is not visible to us.
  }
}

/** proc(5), /proc/<pid>/cgroup: "0::/system.slice/docker-….scope". */
export function parseCgroup(text: string): string | null {
  const path = /^0::(.*)$/m.exec(text)?.[1];
  return path && path !== "/" ? path : null;
}

function riskOf(local: Address, owner: Owner | null, facts: PortFacts, owned: readonly number[]): PortRisk {
  const peer = clientPeer(local);
  const never = whyNever(peer, "fresh", facts);
  const isAtRisk = never === null && facts.ephemeralRange !== null;
  return { local, owner, isAtRisk, never, meanMs: isAtRisk ? meanMs(peer.port, facts, owned) : null };
}

/** The address to which a client of this host connects to reach the listener. */
function clientPeer(local: Address): Address {
  const bare = unmap(local);
  const host = WILDCARDS[bare.host] ?? bare.host;
  return { ...bare, host };
}

/** The risk begins when the listener ends: its port is free then, and the ports of the others are not. */
function meanMs(port: number, facts: PortFacts, owned: readonly number[]): PortRisk["meanMs"] {
  const unusable = unusablePorts(facts.reservedPorts, owned, port);
  const model = { ephemeralRange: facts.ephemeralRange!, unusable };
  const algorithm = hostAlgorithm();
  const mean = (rate: number) => (waitFor(algorithm, model, port, rate).mean / rate) * 1000;
  return { everySecond: mean(1), fullSpeed: mean(FULL_SPEED) };
}

function joinedSocket(row: SocketRow, owner: Owner | null): JoinedSocket {
  const leftMs = row.state === "TIME-WAIT" ? row.timerMs : null;
  const ageMs = leftMs === null ? row.quietMs : Math.max(0, TIME_WAIT_MS - leftMs);
  return { local: row.local, state: row.state, owner, ageMs };
}

function unansweredClient(
  { local, peer, retransmits }: SocketRow,
  owner: Owner | null,
  facts: PortFacts,
): Knocking {
  return { local, peer, owner, retransmits, isAtRisk: whyNever(peer, "fresh", facts) === null };
}

/** sysctl(8) replaces the whole list, so it also has the ports that are reserved already. */
function reserveCommand(listeners: readonly PortRisk[], facts: PortFacts): string | null {
  const ports = listeners.filter((one) => one.isAtRisk).map((one) => one.local.port);
  if (ports.length === 0) return null;
  const all = [...facts.reservedPorts, ...parsePortList([...new Set(ports)].join(","))];
  const text = mergeRanges(all).map(({ low, high }) => (low === high ? `${low}` : `${low}-${high}`));
  return `sysctl -w net.ipv4.ip_local_reserved_ports=${text.join(",")}`;
}

/** Sorts the ranges and joins those that overlap or touch. */
function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const result: PortRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.low - b.low)) {
    const last = result.at(-1);
    if (last && range.low <= last.high + 1) {
      result[result.length - 1] = { low: last.low, high: Math.max(last.high, range.high) };
    } else {
      result.push(range);
    }
  }
  return result;
}

function byPort(one: PortRisk, other: PortRisk): number {
  return one.local.port - other.local.port || one.local.family - other.local.family;
}
