/** Reads the whole table of TCP sockets on threads of the addon, and decodes only what a caller asks for. */
import { setImmediate as turn } from "node:timers/promises";
import { ADDRESS_BYTES } from "../socket/address.ts";
import { errnoName, SocketError } from "../socket/errors.ts";
import { loadNative } from "../socket/native.ts";
import type { PortRange } from "../socket/port-range.ts";
import { holds } from "../socket/port-range.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import { decodeState } from "../socket/tcp-state.ts";
import { OWN_NAMESPACE, readNetwork } from "./host.ts";
import { walkTableText } from "./table-text.ts";
import type { SocketRow, TableSocket, TableSource } from "./tables.ts";
import { ALL_PORTS, decodeRecord, FIELD, NO_TABLE, TABLE_STATES, TRAIT } from "./tables.ts";

const FIRST_CAPACITY = 1024;
/** Sockets open between a dump that had too little memory and the next one. */
const SPARE = 1.25;
/** A bit for each state, BOUND_INACTIVE included, and those that the headers of this build do not know. */
const ALL_STATES = 2 ** 32 - 1;
/** After this time a walk yields to the event loop. It looks at the clock once for so many sockets. */
const TURN_MS = 4;
const SOCKETS_PER_LOOK = 256;
const WORD_BYTES = Uint32Array.BYTES_PER_ELEMENT;
/** The parts of an address (native/core/address.h). */
const PORT_AT = 2;
const HOST_AT = 8;
const ADDRESS_WORDS = ADDRESS_BYTES / WORD_BYTES;

/**
 * sock_diag(7): visits every TCP socket of a network namespace whose local port is in the range, also those that are
 * bound and neither listen nor connect (Linux 6.8 and later). The kernel is asked on threads of the addon, and the walk
 * yields to the event loop. Where sock_diag fails, reads /proc/net/tcp of this process's namespace instead, in pieces;
 * rejects with ENOENT where there is neither.
 */
export async function walkSockets(
  visit: (socket: TableSocket) => void,
  namespaceFd = OWN_NAMESPACE,
  ports = ALL_PORTS,
): Promise<TableSource> {
  const dumps = await Promise.all(([4, 6] as const).map((family) => dump(family, namespaceFd, ports)));
  const complete = dumps.filter((records) => records !== null);
  if (complete.length < dumps.length) {
    await walkTableText((socket) => void (holds(ports, socket.localPort) && visit(socket)));
    return "proc";
  }
  let since = performance.now();
  for (const cursor of complete) {
    for (let index = 0; index < cursor.count; index++) {
      cursor.moveTo(index);
      visit(cursor);
      if (index % SOCKETS_PER_LOOK !== SOCKETS_PER_LOOK - 1 || performance.now() - since < TURN_MS) continue;
      await turn();
      since = performance.now();
    }
  }
  return "sock_diag";
}

/**
 * sock_diag(7) with TCP_INFO: reads the sockets joined to themselves whose local port is in the range, with their
 * quietMs. Returns [] where sock_diag fails.
 */
export async function readJoinedSockets(ports: PortRange, namespaceFd = OWN_NAMESPACE): Promise<SocketRow[]> {
  const dumps = await Promise.all(
    ([4, 6] as const).map((family) => dump(family, namespaceFd, ports, "joined")),
  );
  return dumps.flatMap((records) =>
    Array.from({ length: records?.count ?? 0 }, (_, index) => records!.rowAt(index)),
  );
}

/** Null when this kernel has no sock_diag, and /proc has the same sockets. */
async function dump(
  family: 4 | 6,
  namespaceFd: number,
  { low, high }: PortRange,
  which: "all" | "joined" = "all",
): Promise<RecordCursor | null> {
  const native = loadNative();
  const size = native.diagRecordBytes;
  const flag = which === "joined" ? 1 : 0;
  for (let capacity = which === "joined" ? FIRST_CAPACITY : estimateSockets(family, namespaceFd); ; ) {
    const records = new Uint8Array(capacity * size);
    const count = await new Promise<number>((resolve) => {
      const started = native.dump(namespaceFd, family, ALL_STATES, low, high, flag, flag, records, resolve);
      if (started < 0) resolve(started);
    });
    if (count >= 0 && count <= capacity) return new RecordCursor(records, count, size);
    if (count < 0) {
      if (namespaceFd === OWN_NAMESPACE && NO_TABLE.includes(errnoName(count))) return null;
      throw new SocketError(count, { syscall: "sock_diag" });
    }
    capacity = Math.ceil(count * SPARE);
  }
}

/** proc(5), /proc/net/sockstat: how many sockets a dump may find, so that one is enough. It does not count requests. */
function estimateSockets(family: 4 | 6, namespaceFd: number): number {
  const read = (name: string) => readNetwork(name, namespaceFd) ?? "";
  const four = read("sockstat");
  const inUse =
    family === 4 ? /^TCP: inuse (\d+)/m.exec(four) : /^TCP6: inuse (\d+)/m.exec(read("sockstat6"));
  const timeWait = /^TCP: .* tw (\d+)/m.exec(four);
  return FIRST_CAPACITY + Math.ceil((Number(inUse?.[1] ?? 0) + Number(timeWait?.[1] ?? 0)) * SPARE);
}

/** Reads DiagRecords (native/core/diag.h) in place: decoding every one would take most of the time of an audit. */
class RecordCursor implements TableSocket {
  readonly count: number;
  readonly #records: Buffer;
  readonly #words: Uint32Array;
  readonly #size: number;
  #at = 0;

  constructor(records: Uint8Array, count: number, size: number) {
    this.#records = Buffer.from(records.buffer, records.byteOffset, records.byteLength);
    this.#words = new Uint32Array(records.buffer, records.byteOffset, records.byteLength / WORD_BYTES);
    this.#size = size;
    this.count = count;
  }

  moveTo(index: number): void {
    this.#at = index * this.#size;
  }

  get state(): TcpState {
    return decodeState(TABLE_STATES, this.#field(0));
  }

  get inode(): number {
    return this.#field(FIELD.inode);
  }

  get timerMs(): number {
    return this.#field(FIELD.timer);
  }

  get isV6Only(): boolean {
    return (this.#field(FIELD.traits) & TRAIT.isV6Only) !== 0;
  }

  get isMultipath(): boolean {
    return (this.#field(FIELD.traits) & TRAIT.isMultipath) !== 0;
  }

  #field(index: number): number {
    return this.#words[this.#at / WORD_BYTES + 2 * ADDRESS_WORDS + index]!;
  }

  get localPort(): number {
    return this.#records.readUInt16BE(this.#at + PORT_AT);
  }

  get peerPort(): number {
    return this.#records.readUInt16BE(this.#at + ADDRESS_BYTES + PORT_AT);
  }

  get isJoined(): boolean {
    const first = this.#at / WORD_BYTES;
    for (let word = first; word < first + ADDRESS_WORDS; word++) {
      if (this.#words[word] !== this.#words[word + ADDRESS_WORDS]) return false;
    }
    return true;
  }

  get path(): string {
    return this.#records.toString("latin1", this.#at + HOST_AT, this.#at + 2 * ADDRESS_BYTES);
  }

  keep(): () => SocketRow {
    const at = this.#at;
    return () => decodeRecord(this.#records, at);
  }

  rowAt(index: number): SocketRow {
    return decodeRecord(this.#records, index * this.#size);
  }
}
