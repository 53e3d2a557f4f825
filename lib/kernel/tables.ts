/** The kernel's own table of TCP sockets, as NETLINK_SOCK_DIAG or /proc/net/tcp tells it, and who owns them. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Address } from "../socket/address.ts";
import { ADDRESS_BYTES, decodeAddress, hostText, isSameAddress } from "../socket/address.ts";
import { errnoName, SocketError } from "../socket/errors.ts";
import { invalidArgument, nearest } from "../socket/misuse.ts";
import { loadNative } from "../socket/native.ts";
import type { PortRange } from "../socket/port-range.ts";
import { isSelfConnect } from "../socket/self-connect.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import { stateNumbered, TCP_STATES } from "../socket/tcp-state.ts";

/** proc(5), one row of /proc/net/tcp or tcp6. */
export interface SocketRow {
  readonly local: Address;
  readonly peer: Address;
  /** In the words of RFC 9293. */
  readonly state: TcpState;
  readonly receiveQueueBytes: number;
  readonly sendQueueBytes: number;
  /** When the kernel acts on the socket next: sends again, or lets TIME-WAIT end. 0 when nothing is pending. */
  readonly timerMs: number;
  readonly uid: number;
  /** 0 when no process has the socket open any more. */
  readonly inode: number;
  /** Segments sent again, of those that wait for an answer now. */
  readonly retransmits: number;
  /** Since data last went either way, or the connection was made; null where that was not asked for or is not told. */
  readonly quietMs: number | null;
}

/** Which sockets are asked for; what is absent does not matter. */
export interface SocketFilter {
  /**
   * Without it: every state that /proc/net/tcp shows. CLOSED are sockets that are bound and neither listen nor
   * connect: Linux shows them to sock_diag(7) since 6.8, and only when asked for CLOSED; /proc/net/tcp never does.
   */
  readonly states?: readonly TcpState[];
  readonly localPorts?: PortRange;
  /** Only sockets that are joined to themselves. */
  readonly joinedOnly?: boolean;
  /** Fill quietMs, which is dear where there are many sockets. */
  readonly details?: boolean;
}

/** How the table was read. */
export type TableSource = "sock_diag" | "proc";

/** The sockets that passed a filter, and which of the kernel's two tables they come from. */
export interface FoundSockets {
  readonly rows: SocketRow[];
  readonly source: TableSource;
}

/** proc(5): a process that has a socket open, and the first word of its command line without the folder. */
export interface SocketOwner {
  readonly pid: number;
  readonly command: string;
}

/** The states of sock_diag(7) and /proc/net/tcp, by their number there (include/net/tcp_states.h). */
const STATES: readonly (TcpState | "")[] = [
  "",
  "ESTABLISHED",
  "SYN-SENT",
  "SYN-RECEIVED",
  "FIN-WAIT-1",
  "FIN-WAIT-2",
  "TIME-WAIT",
  "CLOSED",
  "CLOSE-WAIT",
  "LAST-ACK",
  "LISTEN",
  "CLOSING",
  "SYN-RECEIVED", // NEW_SYN_RECV: the listener has not made a socket of it yet.
  "CLOSED", // BOUND_INACTIVE: a bit to ask with; the sockets are then reported as CLOSE.
];
/** A bit for each number but BOUND_INACTIVE, which makes the kernel walk one table more. */
const SHOWN_STATES = 0x1fff;

/** The kernel shows times to user space in hundredths of a second, whatever its own tick is (USER_HZ). */
const TICK_MS = 10;
export const ALL_PORTS: PortRange = { low: 0, high: 65_535 };
const FIRST_ROOM = 1024;
/** An entry of the integers behind the two addresses of a record (native/core/diag.h). */
const FIELDS_AT = 2 * ADDRESS_BYTES;
const UNTOLD = 2 ** 32 - 1;
/** Where sock_diag cannot answer: there is none, tcp_diag cannot be loaded, or the table changed during each dump. */
const NO_TABLE = ["ENOSYS", "EPROTONOSUPPORT", "ENOENT", "EAFNOSUPPORT", "EINTR"];

/**
 * sock_diag(7): the TCP sockets of this network namespace that pass the filter, which the kernel applies itself.
 * Where it has no such table /proc/net/tcp is read and filtered here. Throws ERR_UNKNOWN_STATE for a misspelt state,
 * and where there is neither table.
 */
export function findSockets(filter: SocketFilter): FoundSockets {
  if (filter.states) checkStates(filter.states);
  const [four, six] = [diagRows(4, filter), diagRows(6, filter)];
  if (four && six) return { rows: [...four, ...six], source: "sock_diag" };
  return { rows: socketTable().filter((row) => passes(row, filter)), source: "proc" };
}

function diagRows(family: 4 | 6, filter: SocketFilter): SocketRow[] | null {
  const native = loadNative();
  const { states, localPorts = ALL_PORTS, joinedOnly, details } = filter;
  const mask = states ? stateMask(states) : SHOWN_STATES;
  const { low, high } = localPorts;
  const bytes = native.diagRecordBytes;
  for (let room = FIRST_ROOM; ; room *= 2) {
    const records = new Uint8Array(room * bytes);
    const count = native.diag(family, mask, low, high, joinedOnly ? 1 : 0, details ? 1 : 0, records);
    if (count < 0 && NO_TABLE.includes(errnoName(count))) return null;
    if (count < 0) throw new SocketError(count, { syscall: "sock_diag" });
    if (count > room) continue; // More sockets than room, or than a moment ago.
    return Array.from({ length: count }, (_, index) => decodeRecord(records, index * bytes));
  }
}

function stateMask(states: readonly TcpState[]): number {
  return STATES.reduce(
    (bits, state, number) => (state && states.includes(state) ? bits | (1 << number) : bits),
    0,
  );
}

/** Throws ERR_UNKNOWN_STATE, which names the near miss. */
function checkStates(states: readonly string[]): void {
  for (const state of states) {
    if ((TCP_STATES as readonly string[]).includes(state)) continue;
    const meant = nearest(state, TCP_STATES);
    const mend = meant ? `did you mean "${meant}"?` : `use ${TCP_STATES.join(", ")}`;
    throw invalidArgument("ERR_UNKNOWN_STATE", `"${state}" is not a TCP state: ${mend}`);
  }
}

/** What native/core/diag.h calls DiagRecord. */
function decodeRecord(records: Uint8Array, at: number): SocketRow {
  const address = (offset: number) =>
    decodeAddress(records.subarray(at + offset, at + offset + ADDRESS_BYTES), String);
  const view = new DataView(records.buffer, records.byteOffset + at + FIELDS_AT);
  const isLittle = os.endianness() === "LE";
  const field = (index: number) => view.getUint32(4 * index, isLittle);
  const quietMs = field(7);
  const state = stateNumbered(STATES, field(0));
  return {
    local: address(0),
    peer: address(ADDRESS_BYTES),
    state,
    uid: field(1),
    inode: field(2),
    receiveQueueBytes: field(3),
    // Of a listener sock_diag tells the length of its backlog here, and /proc nothing.
    sendQueueBytes: state === "LISTEN" ? 0 : field(4),
    retransmits: field(5),
    timerMs: field(6),
    quietMs: quietMs === UNTOLD ? null : quietMs,
  };
}

function passes(row: SocketRow, { states, localPorts = ALL_PORTS, joinedOnly }: SocketFilter): boolean {
  if (states && !states.includes(row.state)) return false;
  if (row.local.port < localPorts.low || row.local.port > localPorts.high) return false;
  return !joinedOnly || isSelfConnect(row.local, row.peer);
}

/** All TCP sockets of this network namespace. Throws where there is no /proc/net/tcp. */
export function socketTable(): SocketRow[] {
  return ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((path) => parseSocketTable(readFileSync(path, "utf8")));
}

/** The rows of one such file. */
export function parseSocketTable(text: string): SocketRow[] {
  return text.split("\n").slice(1).filter(Boolean).map(parseRow);
}

/** proc(5), /proc/net/tcp and tcp6: the rows with this four-tuple, in any state. */
export function findFourTuple(local: Address, peer: Address): SocketRow[] {
  return socketTable().filter((row) => isSameAddress(row.local, local) && isSameAddress(row.peer, peer));
}

/** proc(5), /proc/<pid>/fd: the process that has a socket open; null when there is none or it may not be seen. */
export function socketOwner(inode: number): SocketOwner | null {
  return socketOwners([inode]).get(inode) ?? null;
}

/** The same for many sockets in one pass over the processes; a socket without an owner is absent. */
export function socketOwners(inodes: Iterable<number>): Map<number, SocketOwner> {
  const wanted = new Set([...inodes].filter((inode) => inode !== 0));
  const owners = new Map<number, SocketOwner>();
  if (wanted.size === 0) return owners;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    for (const inode of socketsOf(pid)) {
      if (!wanted.delete(inode)) continue;
      const owner = ownerAt(pid);
      if (owner) owners.set(inode, owner);
    }
    if (wanted.size === 0) break;
  }
  return owners;
}

function ownerAt(pid: string): SocketOwner | null {
  try {
    return { pid: Number(pid), command: commandOf(pid) };
  } catch {
    return null; // It ended while we looked.
  }
}

/** proc(5), /proc/PID/cmdline: its first word, as netstat shows; comm is a thread's name, "MainThread" in Node 24. */
function commandOf(pid: string): string {
  const program = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0]!;
  return path.basename(program) || readFileSync(`/proc/${pid}/comm`, "utf8").trim();
}

/** The inodes of the sockets that a process has open. */
function* socketsOf(pid: string): Generator<number> {
  for (const fd of readLinks(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(fd)?.[1];
    if (inode !== undefined) yield Number(inode);
  }
}

function* readLinks(folder: string): Generator<string> {
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch {
    return; // Not ours to look into, or ended.
  }
  for (const name of names) {
    try {
      yield readlinkSync(`${folder}/${name}`);
    } catch {
      // Closed between the listing and the look.
    }
  }
}

function parseRow(line: string): SocketRow {
  const [, local, peer, state, queues, timer, retransmits, uid, , inode] = line.trim().split(/\s+/);
  const [send, receive] = queues!.split(":");
  return {
    local: parseHexAddress(local!),
    peer: parseHexAddress(peer!),
    state: stateNumbered(STATES, Number.parseInt(state!, 16)),
    sendQueueBytes: Number.parseInt(send!, 16),
    receiveQueueBytes: Number.parseInt(receive!, 16),
    timerMs: Number.parseInt(timer!.split(":")[1]!, 16) * TICK_MS,
    uid: Number(uid),
    inode: Number(inode),
    retransmits: Number.parseInt(retransmits!, 16),
    quietMs: null,
  };
}

/** "0100007F:C350": each 32-bit word of the address is printed as a number of this machine's byte order. */
function parseHexAddress(text: string): Address {
  const [host, port] = text.split(":");
  const bytes = Uint8Array.from(host!.match(/../g)!, (pair) => Number.parseInt(pair, 16));
  if (os.endianness() === "LE") {
    for (let word = 0; word < bytes.length; word += 4) bytes.subarray(word, word + 4).reverse();
  }
  return { family: bytes.length === 4 ? 4 : 6, host: hostText(bytes), port: Number.parseInt(port!, 16) };
}
