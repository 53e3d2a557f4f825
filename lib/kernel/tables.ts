/** The kernel's own table of TCP sockets, as /proc/net/tcp tells it, and who owns them. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Address } from "../address.ts";
import { hostText, isSameAddress } from "../address.ts";

/** proc(5), one row of /proc/net/tcp or tcp6. */
export interface SocketRow {
  readonly local: Address;
  readonly peer: Address;
  /** As netstat(8) writes it: ESTABLISHED, SYN_SENT, TIME_WAIT, LISTEN … */
  readonly state: string;
  readonly receiveQueueBytes: number;
  readonly sendQueueBytes: number;
  /** When the kernel acts on the socket next: sends again, or lets TIME-WAIT end. 0 when nothing is pending. */
  readonly timerMs: number;
  readonly uid: number;
  /** 0 when no process has the socket open any more. */
  readonly inode: number;
}

export interface SocketOwner {
  readonly pid: number;
  readonly command: string;
}

/** The states of /proc/net/tcp, by their number there (include/net/tcp_states.h), in netstat's words. */
const STATES = [
  "UNKNOWN",
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT1",
  "FIN_WAIT2",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "CLOSING",
  "NEW_SYN_RECV",
];

/** The kernel shows times to user space in hundredths of a second, whatever its own tick is (USER_HZ). */
const TICK_MS = 10;

/** All TCP sockets of this network namespace. Throws where there is no /proc/net/tcp. */
export function socketTable(): SocketRow[] {
  return ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((path) => parseSocketTable(readFileSync(path, "utf8")));
}

/** The rows of one such file. */
export function parseSocketTable(text: string): SocketRow[] {
  return text.split("\n").slice(1).filter(Boolean).map(parseRow);
}

/** The rows with this four-tuple. */
export function rowsOf(local: Address, peer: Address): SocketRow[] {
  return socketTable().filter((row) => isSameAddress(row.local, local) && isSameAddress(row.peer, peer));
}

/** proc(5), /proc/PID/fd: the process that has a socket open; null when none is visible to this user. */
export function socketOwner(inode: number): SocketOwner | null {
  const link = `socket:[${inode}]`;
  const pids = inode === 0 ? [] : readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const pid = pids.find((candidate) => hasLink(`/proc/${candidate}/fd`, link));
  if (pid === undefined) return null;
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

/** The row as netstat(8) prints it, under netstat's own header. */
export function netstatText(row: SocketRow, owner: SocketOwner | null): string {
  const protocol = row.local.family === 4 ? "tcp" : "tcp6";
  const columns = [
    protocol.padEnd(5),
    String(row.receiveQueueBytes).padStart(6),
    String(row.sendQueueBytes).padStart(6),
    netstatAddress(row.local).padEnd(23),
    netstatAddress(row.peer).padEnd(23),
    row.state.padEnd(11),
    owner ? `${owner.pid}/${owner.command}` : "-",
  ];
  return columns.join(" ");
}

export const NETSTAT_HEADER =
  "Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name";

/** netstat writes IPv6 addresses without brackets, and port 0 as a star. */
function netstatAddress(address: Address): string {
  return `${address.host}:${address.port === 0 ? "*" : address.port}`;
}

function hasLink(folder: string, link: string): boolean {
  try {
    return readdirSync(folder).some((fd) => linkIs(`${folder}/${fd}`, link));
  } catch {
    return false; // Not ours to look into, or ended.
  }
}

function linkIs(path: string, link: string): boolean {
  try {
    return readlinkSync(path) === link;
  } catch {
    return false; // Closed between the listing and the look.
  }
}

function parseRow(line: string): SocketRow {
  const [, local, peer, state, queues, timer, , uid, , inode] = line.trim().split(/\s+/);
  const [send, receive] = queues!.split(":");
  return {
    local: parseHexAddress(local!),
    peer: parseHexAddress(peer!),
    state: STATES[Number.parseInt(state!, 16)] ?? `STATE_${state}`,
    sendQueueBytes: Number.parseInt(send!, 16),
    receiveQueueBytes: Number.parseInt(receive!, 16),
    timerMs: Number.parseInt(timer!.split(":")[1]!, 16) * TICK_MS,
    uid: Number(uid),
    inode: Number(inode),
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
