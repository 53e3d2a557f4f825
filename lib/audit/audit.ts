/** The audit: listeners of this host that may lose their port to a self-connect, and sockets joined to themselves. */
import { readFileSync } from "node:fs";
import os from "node:os";
import type { PortFacts } from "../kernel/host.ts";
import { isOwnAddress, portFacts, sandbox } from "../kernel/host.ts";
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
import type { TcpState } from "../socket/tcp-state.ts";

/** The process that has a socket open, and where it runs. */
export interface Owner {
  readonly pid: number;
  readonly command: string;
  /** cgroups(7): the path in the unified hierarchy, which names the container; null where it is not visible. */
  readonly cgroup: string | null;
}

/** A port as a self-connect sees it: while nothing listens there, can a client that tries again be given it? */
export interface PortRisk {
  readonly local: Address;
  /** Null where no process may be seen, and for a port that nobody listens on yet. */
  readonly owner: Owner | null;
  readonly isAtRisk: boolean;
  /** Why a plain connect is never given the port; null when it is at risk. */
  readonly never: Never | null;
  /** How long one client takes on average; null when never. */
  readonly meanMs: { readonly everySecond: number; readonly fullSpeed: number } | null;
}

/** A socket joined to itself, now or until a moment ago. */
export interface JoinedSocket {
  readonly local: Address;
  readonly state: TcpState;
  readonly owner: Owner | null;
  /** At least this old; null where the kernel does not tell. */
  readonly ageMs: number | null;
}

/** A client whose SYN to this host's own address is not answered: it tries again. */
export interface Knocking {
  readonly local: Address;
  readonly peer: Address;
  readonly owner: Owner | null;
  readonly retransmits: number;
  /** Whether the peer's port could become its own. */
  readonly isAtRisk: boolean;
}

/** What audit() found in this network namespace, and the facts that it rests on. */
export interface Audit extends PortFacts {
  /** How the kernel is supposed to pick, by its release. */
  readonly algorithm: AlgorithmName;
  readonly source: TableSource;
  readonly listeners: readonly PortRisk[];
  readonly joined: readonly JoinedSocket[];
  /** TIME-WAIT of self-connects: each keeps its port from a listener. */
  readonly leftovers: readonly JoinedSocket[];
  readonly knocking: readonly Knocking[];
  /** The command that keeps the ports at risk from being given out, and those that are reserved already. */
  readonly reserve: string | null;
  /** Whether anything is at risk or joined to itself. */
  readonly isClean: boolean;
}

/** What audit() looks at: every listener of the ephemeral range unless a port is named. */
export interface AuditOptions {
  /** Ask for this port instead of the listeners: of someone about to choose one. */
  readonly port?: number;
}

const FULL_SPEED = 50_000;
const TIME_WAIT_MS = 60_000;
const WILDCARDS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** Reads the tables of this network namespace and changes nothing. It makes no connection. */
export function audit(options: AuditOptions = {}): Audit {
  const facts = portFacts();
  const range = facts.ephemeralRange ?? ALL_PORTS;
  const listening = findSockets({ states: ["LISTEN"], localPorts: range });
  const self = joinedSockets();
  const knocking = knockingSockets(range);
  const owners = ownersOf([...listening.rows, ...self, ...knocking]);
  const owner = (row: SocketRow) => owners.get(row.inode) ?? null;
  const owned = listening.rows.map((row) => row.local.port);
  const risk = (local: Address, by: Owner | null) => riskOf(local, by, facts, owned);
  const listeners =
    options.port === undefined
      ? listening.rows.map((row) => risk(row.local, owner(row))).sort(byPort)
      : [risk({ family: 4, host: "0.0.0.0", port: options.port }, null)];
  const joined = self.filter((row) => row.state !== "TIME-WAIT").map((row) => joinedSocket(row, owner(row)));
  const knocks = knocking.map((row) => knock(row, owner(row), facts));
  const atRisk = [...listeners, ...knocks].some((one) => one.isAtRisk);
  return {
    ...facts,
    algorithm: hostAlgorithm().name,
    source: listening.source,
    listeners,
    joined,
    leftovers: self.filter((row) => row.state === "TIME-WAIT").map((row) => joinedSocket(row, null)),
    knocking: knocks,
    reserve: reserveCommand(listeners, facts),
    isClean: !atRisk && joined.length === 0,
  };
}

/** Without a look at the ports it gives out: an audit makes no connection. */
function hostAlgorithm(): PortAlgorithm {
  return sandbox() === "gvisor" ? portAlgorithm("hash-based") : supposeAlgorithm("connect", os.release());
}

/** All that are joined; and of those that live, a second look at each for its age, which is dear to ask of all. */
function joinedSockets(): SocketRow[] {
  const { rows } = findSockets({ joinedOnly: true });
  return rows.flatMap((row) => {
    const { port } = row.local;
    if (row.state === "TIME-WAIT" || row.state === "LISTEN") return row.state === "LISTEN" ? [] : [row];
    const again = findSockets({ joinedOnly: true, details: true, localPorts: { low: port, high: port } });
    return [again.rows.find((one) => one.inode === row.inode) ?? row];
  });
}

function knockingSockets(range: PortRange): SocketRow[] {
  return findSockets({ states: ["SYN-SENT"] }).rows.filter(
    ({ peer }) => holds(range, peer.port) && isOwnAddress(peer),
  );
}

function ownersOf(rows: readonly SocketRow[]): Map<number, Owner> {
  const found = socketOwners(rows.map((row) => row.inode));
  return new Map([...found].map(([inode, owner]) => [inode, { ...owner, cgroup: cgroupOf(owner.pid) }]));
}

function cgroupOf(pid: number): string | null {
  try {
    return parseCgroup(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  } catch {
    return null; // Ended, or not ours to see.
  }
}

/** proc(5), /proc/<pid>/cgroup: "0::/system.slice/docker-….scope". */
export function parseCgroup(text: string): string | null {
  const path = /^0::(.*)$/m.exec(text)?.[1];
  return path && path !== "/" ? path : null;
}

function riskOf(local: Address, owner: Owner | null, facts: PortFacts, owned: readonly number[]): PortRisk {
  const peer = clientsPeer(local);
  const never = whyNever(peer, "fresh", facts);
  const isAtRisk = never === null && facts.ephemeralRange !== null;
  return { local, owner, isAtRisk, never, meanMs: isAtRisk ? meanMs(peer.port, facts, owned) : null };
}

/** Where a client of this host connects to, to reach the listener. */
function clientsPeer(local: Address): Address {
  const bare = unmap(local);
  const host = WILDCARDS[bare.host] ?? bare.host;
  return { ...bare, host };
}

/** The risk begins when the listener is gone: its own port is free then, and the others' are not. */
function meanMs(port: number, facts: PortFacts, owned: readonly number[]): PortRisk["meanMs"] {
  const unusable = unusablePorts(facts.reservedPorts, owned, port);
  const model = { ephemeralRange: facts.ephemeralRange!, unusable };
  const algorithm = hostAlgorithm();
  const mean = (rate: number) => (waitFor(algorithm, model, port, rate).mean / rate) * 1000;
  return { everySecond: mean(1), fullSpeed: mean(FULL_SPEED) };
}

function joinedSocket(row: SocketRow, owner: Owner | null): JoinedSocket {
  const left = row.state === "TIME-WAIT" ? row.timerMs : null;
  const ageMs = left === null ? row.quietMs : Math.max(0, TIME_WAIT_MS - left);
  return { local: row.local, state: row.state, owner, ageMs };
}

function knock({ local, peer, retransmits }: SocketRow, owner: Owner | null, facts: PortFacts): Knocking {
  return { local, peer, owner, retransmits, isAtRisk: whyNever(peer, "fresh", facts) === null };
}

/** sysctl(8): the list is written whole, so what is reserved already is in it too. */
function reserveCommand(listeners: readonly PortRisk[], facts: PortFacts): string | null {
  const ports = listeners.filter((one) => one.isAtRisk).map((one) => one.local.port);
  if (ports.length === 0) return null;
  const all = [...facts.reservedPorts, ...parsePortList([...new Set(ports)].join(","))];
  const text = mergeRanges(all).map(({ low, high }) => (low === high ? `${low}` : `${low}-${high}`));
  return `sysctl -w net.ipv4.ip_local_reserved_ports=${text.join(",")}`;
}

/** The ranges in order, those that touch as one. */
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
