/** Reads the kernel's table of TCP sockets from NETLINK_SOCK_DIAG or /proc/net/tcp, and finds their owners. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { inspect } from "node:util";
import type { Address } from "../socket/address.ts";
import { ADDRESS_BYTES, decodeAddress, dropScope, isSameAddress, parseText } from "../socket/address.ts";
import { hostText } from "../socket/address-text.ts";
import { errnoName, SocketError } from "../socket/errors.ts";
import { checkFlags, checkKeys, invalidArgument, nearest, textOf } from "../socket/misuse.ts";
import { loadNative } from "../socket/native.ts";
import type { PortRange } from "../socket/port-range.ts";
import { isSelfConnect } from "../socket/self-connect.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import { decodeState, TCP_STATES } from "../socket/tcp-state.ts";
import { OWN_NAMESPACE } from "./host.ts";

/** One TCP socket: a record of sock_diag(7), or a row of /proc/net/tcp or tcp6 (proc(5)). */
export interface SocketRow {
  /** getsockname(2) of the socket. */
  readonly local: Address;
  /** getpeername(2) of the socket; port 0 of the unspecified address without a peer. */
  readonly peer: Address;
  /** Spelled as in RFC 9293. */
  readonly state: TcpState;
  /** Bytes received that no program has read; of a listener the connections that wait for accept(2). */
  readonly receiveQueueBytes: number;
  /** Bytes sent that the peer has not acknowledged; 0 of a listener. */
  readonly sendQueueBytes: number;
  /** Milliseconds until the kernel retransmits or TIME-WAIT ends; 0 when nothing is pending. */
  readonly timerMs: number;
  /** The user that created the socket; 0 in TIME-WAIT. */
  readonly uid: number;
  /** 0 when no process has the socket open. */
  readonly inode: number;
  /** Retransmissions of the segments that are not acknowledged yet. */
  readonly retransmits: number;
  /** Milliseconds since the last data in either direction, or since the connect; null when not read or not reported. */
  readonly quietMs: number | null;
}

/** One socket of the table. Its properties are valid during the call of `visit` only. */
export interface TableSocket {
  readonly state: TcpState;
  readonly localPort: number;
  readonly peerPort: number;
  /** 0 when no process has the socket open. */
  readonly inode: number;
  /** Milliseconds until the kernel retransmits or TIME-WAIT ends; 0 when nothing is pending. */
  readonly timerMs: number;
  /** IPV6_V6ONLY of a socket that listens or is bound; false in /proc/net/tcp, which does not have it. */
  readonly isV6Only: boolean;
  /** Whether it is of Multipath TCP; false in /proc/net/tcp. */
  readonly isMultipath: boolean;
  /** Whether its local address is its peer address. */
  readonly isJoined: boolean;
  /** A text that two sockets share if and only if they have the same local host and the same peer. */
  readonly path: string;
  /** Returns a function that decodes the socket, also later. */
  keep(): () => SocketRow;
}

/** Which sockets to find; an absent field matches all. */
export interface SocketFilter {
  /**
   * When absent: every state that /proc/net/tcp shows. A CLOSED socket is bound and neither listens nor connects:
   * sock_diag(7) reports it since Linux 6.8, only when this list includes CLOSED; /proc/net/tcp never shows it.
   */
  readonly states?: readonly TcpState[];
  /** Only sockets whose local port is in this range. */
  readonly localPorts?: PortRange;
  /** Only sockets joined to themselves. */
  readonly joinedOnly?: boolean;
  /** Also read quietMs, which is expensive when there are many sockets. */
  readonly details?: boolean;
}

const FILTER_KEYS = ["states", "localPorts", "joinedOnly", "details"];

/** How the table was read. */
export type TableSource = "sock_diag" | "proc";

/** The sockets that match a filter, and the table that they were read from. */
export interface FoundSockets {
  /** The sockets, in the kernel's order. */
  readonly rows: SocketRow[];
  /** What was read. */
  readonly source: TableSource;
}

/** proc(5): a process that has a socket open, and the first word of its command line without its directory. */
export interface SocketOwner {
  /** The process's number. */
  readonly pid: number;
  /** The name of the process, proc(5) comm: at most 15 bytes. */
  readonly command: string;
}

/** The states by their number in sock_diag(7) and /proc/net/tcp (include/net/tcp_states.h). */
export const TABLE_STATES: readonly (TcpState | "")[] = [
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
  "SYN-RECEIVED", // NEW_SYN_RECV: a request for which the listener has not created a socket yet.
  "CLOSED", // BOUND_INACTIVE: a bit in requests only; the kernel reports these sockets as CLOSE.
];
/** A bit for each number except BOUND_INACTIVE, which makes the kernel walk one more table. */
const SHOWN_STATES = 0x1fff;

/** /proc has times in hundredths of a second (USER_HZ), whatever the kernel's tick. */
const TICK_MS = 10;
const LONGEST_COMMAND = 80;
export const ALL_PORTS: PortRange = { low: 0, high: 65_535 };
/** How many records the first request has memory for. */
const FIRST_CAPACITY = 1024;
/** The offset of the integers, which follow the two addresses of a record (native/core/diag.h). */
const FIELDS_AT = 2 * ADDRESS_BYTES;
const UNREPORTED = 2 ** 32 - 1;
/** The kernel has no sock_diag, or cannot load tcp_diag, or (EINTR) the table changed during each dump. */
export const NO_TABLE = ["ENOSYS", "EPROTONOSUPPORT", "ENOENT", "EAFNOSUPPORT", "EINTR"];

/**
 * sock_diag(7): finds the TCP sockets of this network namespace that match the filter, which the kernel applies. When
 * sock_diag fails, reads /proc/net/tcp and filters it here. Throws ERR_UNKNOWN_STATE for a misspelt state, and ENOENT
 * when there is neither table.
 *
 * @example
 * import { listen } from "selfconnect";
 * import { findSockets } from "selfconnect/kernel";
 *
 * const listener = listen("127.0.0.1:0");
 * const { port } = listener.getsockname();
 * const { rows } = findSockets({ states: ["LISTEN"], localPorts: { low: port, high: port } });
 * console.log(rows.length, rows[0].state); // 1 LISTEN
 * listener.close();
 */
export function findSockets(filter: SocketFilter): FoundSockets {
  checkKeys("findSockets()", filter, FILTER_KEYS);
  checkFlags(filter, ["joinedOnly", "details"]);
  if (filter.states !== undefined) checkStates(filter.states);
  const [four, six] = [readDiag(4, filter, decodeRecord), readDiag(6, filter, decodeRecord)];
  if (four && six) return { rows: [...four, ...six], source: "sock_diag" };
  return { rows: socketTable().filter((row) => matches(row, filter)), source: "proc" };
}

/** Reads the table of one family and decodes each record. Null when this kernel has no sock_diag. */
export function readDiag<T>(
  family: 4 | 6,
  filter: SocketFilter,
  decode: (records: Uint8Array, at: number) => T,
  namespaceFd = OWN_NAMESPACE,
): T[] | null {
  const native = loadNative();
  const { states, localPorts = ALL_PORTS, joinedOnly, details } = filter;
  const mask = states ? toStateMask(states) : SHOWN_STATES;
  const { low, high } = localPorts;
  const bytes = native.diagRecordBytes;
  for (let capacity = FIRST_CAPACITY; ; capacity *= 2) {
    const records = new Uint8Array(capacity * bytes);
    const flags = [joinedOnly ? 1 : 0, details ? 1 : 0] as const;
    const count = native.diag(family, mask, low, high, ...flags, records, namespaceFd);
    if (count < 0 && NO_TABLE.includes(errnoName(count))) return null;
    if (count < 0) throw new SocketError(count, { syscall: "sock_diag" });
    if (count > capacity) continue;
    return Array.from({ length: count }, (_, index) => decode(records, index * bytes));
  }
}

function toStateMask(states: readonly TcpState[]): number {
  return TABLE_STATES.reduce(
    (bits, state, number) => (state && states.includes(state) ? bits | (1 << number) : bits),
    0,
  );
}

/** Throws ERR_UNKNOWN_STATE, which names the near miss. */
function checkStates(states: readonly string[]): void {
  if (!Array.isArray(states)) {
    throw invalidArgument("ERR_UNKNOWN_STATE", `states ${inspect(states)} is not a list, such as ["LISTEN"]`);
  }
  for (const state of states) {
    if ((TCP_STATES as readonly string[]).includes(state)) continue;
    const meant = nearest(String(state), TCP_STATES);
    const fix = meant ? `did you mean "${meant}"?` : `use ${TCP_STATES.join(", ")}`;
    throw invalidArgument("ERR_UNKNOWN_STATE", `"${state}" is not a TCP state: ${fix}`);
  }
}

/** Decodes a DiagRecord (native/core/diag.h). */
export function decodeRecord(records: Uint8Array, at: number): SocketRow {
  const address = (offset: number) =>
    decodeAddress(records.subarray(at + offset, at + offset + ADDRESS_BYTES), String);
  const field = (index: number) => readField(records, at, index);
  const quietMs = field(7);
  const state = decodeState(TABLE_STATES, field(0));
  return {
    local: address(0),
    peer: address(ADDRESS_BYTES),
    state,
    uid: field(1),
    inode: field(2),
    receiveQueueBytes: field(3),
    // For a listener, sock_diag reports the backlog here, and /proc reports 0.
    sendQueueBytes: state === "LISTEN" ? 0 : field(4),
    retransmits: field(5),
    timerMs: field(6),
    quietMs: quietMs === UNREPORTED ? null : quietMs,
  };
}

/** The numbers of the integers of a DiagRecord that follow those of a SocketRow, and the bits of `traits`. */
export const FIELD = { inode: 2, timer: 6, interface: 8, cookieLow: 9, cookieHigh: 10, traits: 11 } as const;
export const TRAIT = { isV6Only: 1, isMultipath: 2, isOutgoing: 4, isAccepted: 8 } as const;

/** The integer with this number in a DiagRecord. */
export function readField(records: Uint8Array, at: number, index: number): number {
  const view = new DataView(records.buffer, records.byteOffset + at + FIELDS_AT);
  return view.getUint32(4 * index, os.endianness() === "LE");
}

function matches(row: SocketRow, { states, localPorts = ALL_PORTS, joinedOnly }: SocketFilter): boolean {
  if (states && !states.includes(row.state)) return false;
  if (row.local.port < localPorts.low || row.local.port > localPorts.high) return false;
  return !joinedOnly || isSelfConnect(row.local, row.peer);
}

/**
 * proc(5), /proc/net/tcp and tcp6: reads all TCP sockets of this network namespace. A kernel that was started without
 * IPv6 has no tcp6. Throws ENOENT when tcp is missing.
 */
export function socketTable(): SocketRow[] {
  const four = readFileSync("/proc/net/tcp", "utf8");
  const six = existsSync("/proc/net/tcp6") ? readFileSync("/proc/net/tcp6", "utf8") : "";
  return [four, six].flatMap(parseSocketTable);
}

/** Parses the text of /proc/net/tcp or tcp6. */
export function parseSocketTable(text: string): SocketRow[] {
  return text.split("\n").slice(1).filter(Boolean).map(parseRow);
}

/**
 * proc(5), /proc/net/tcp and tcp6: finds the sockets with this four-tuple, in any state. The tables do not have the
 * scope, which is not compared.
 */
export function findFourTuple(local: Address | string, peer: Address | string): SocketRow[] {
  const [one, other] = [dropScope(parseText(local)), dropScope(parseText(peer))];
  return socketTable().filter((row) => isSameAddress(row.local, one) && isSameAddress(row.peer, other));
}

/** proc(5), /proc/PID/fd: finds the process that has a socket open; null when no readable process has it open. */
export function socketOwner(inode: number): SocketOwner | null {
  return socketOwners([inode]).get(inode) ?? null;
}

function checkInode(inode: number): void {
  if (Number.isInteger(inode) && inode >= 0) return;
  const message = `inode ${textOf(inode)} is not a number of a socket`;
  throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
}

/** Finds the owners of many sockets in one pass over the processes; a socket without an owner is absent. */
export function socketOwners(inodes: Iterable<number>): Map<number, SocketOwner> {
  if (typeof inodes !== "object" || typeof inodes?.[Symbol.iterator] !== "function")
    throw invalidArgument("ERR_INVALID_ARGUMENT", "socketOwners() takes inodes, as [4026531840]");
  const asked = [...inodes];
  for (const inode of asked) checkInode(inode);
  const missing = new Set(asked.filter((inode) => inode !== 0));
  const owners = new Map<number, SocketOwner>();
  if (missing.size === 0) return owners;
  for (const pid of listProcesses()) {
    for (const inode of readSocketInodes(pid)) {
      if (!missing.delete(inode)) continue;
      const owner = readOwner(pid);
      if (owner) owners.set(inode, owner);
    }
    if (missing.size === 0) break;
  }
  return owners;
}

/** proc(5): the numbers of all processes that this one can see. */
export function listProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function readOwner(pid: number): SocketOwner | null {
  try {
    return { pid, command: readCommand(pid) };
  } catch {
    return null; // The process has ended meanwhile.
  }
}

/**
 * proc(5), /proc/PID/cmdline: its first word, as netstat prints it. comm names a thread, "MainThread" in Node 24. A
 * process writes what it likes there, a megabyte too: the name is cut.
 */
export function readCommand(pid: number): string {
  const program = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0]!;
  const name = path.basename(program) || readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  return name.length > LONGEST_COMMAND ? `${name.slice(0, LONGEST_COMMAND - 1)}…` : name;
}

/** Yields the inodes of the sockets that a process has open. */
function* readSocketInodes(pid: number): Generator<number> {
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
    return; // No permission, or the process has ended.
  }
  for (const name of names) {
    try {
      yield readlinkSync(`${folder}/${name}`);
    } catch {
      // The process has closed it since the listing.
    }
  }
}

/** Parses a row of /proc/net/tcp or tcp6. */
export function parseRow(line: string): SocketRow {
  const [, local, peer, state, queues, timer, retransmits, uid, , inode] = line.trim().split(/\s+/);
  const [send, receive] = queues!.split(":");
  return {
    local: parseHexAddress(local!),
    peer: parseHexAddress(peer!),
    state: decodeState(TABLE_STATES, Number.parseInt(state!, 16)),
    sendQueueBytes: Number.parseInt(send!, 16),
    receiveQueueBytes: Number.parseInt(receive!, 16),
    timerMs: Number.parseInt(timer!.split(":")[1]!, 16) * TICK_MS,
    uid: Number(uid),
    inode: Number(inode),
    retransmits: Number.parseInt(retransmits!, 16),
    quietMs: null,
  };
}

/** Parses "0100007F:C350": the kernel prints each 32-bit word of the address in this machine's byte order. */
function parseHexAddress(text: string): Address {
  const [host, port] = text.split(":");
  const bytes = Uint8Array.from(host!.match(/../g)!, (pair) => Number.parseInt(pair, 16));
  if (os.endianness() === "LE") {
    for (let word = 0; word < bytes.length; word += 4) bytes.subarray(word, word + 4).reverse();
  }
  return { family: bytes.length === 4 ? 4 : 6, host: hostText(bytes), port: Number.parseInt(port!, 16) };
}
