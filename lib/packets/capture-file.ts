/** Reads capture files, pcap and pcapng, as a stream in bounded memory. The error of a damaged file names the place. */
import { invalidArgument } from "../socket/misuse.ts";
import type { Frame } from "./capture.ts";
import { isKnownLink } from "./link.ts";
import { BYTE_ORDER, INTERFACE, LONGEST_PACKET, PACKET, RESOLUTION, SECTION } from "./pcapng.ts";

/** Receives a captured frame, whose bytes are valid during the call, and the link type of its interface. */
export type OnFrame = (frame: Frame, link: number) => void;

/** The most bytes of a pcapng block that is read; blocks of other kinds are skipped at any length. */
const LONGEST_BLOCK = LONGEST_PACKET + (1 << 17);
const MOST_INTERFACES = 4096;
/** pcap: microseconds or nanoseconds, in either byte order. */
const PCAP: Readonly<Record<number, bigint>> = { 2712847316: 1000n, 2712812621: 1n };
const OLD_PACKET = 2;
const SIMPLE_PACKET = 3;
const IF_TSOFFSET = 14;
const NS_PER_SECOND = 1_000_000_000n;

/** An interface of a pcapng section. */
interface Interface {
  readonly link: number;
  readonly snapBytes: number;
  readonly unitsPerSecond: bigint;
  readonly offsetSeconds: bigint;
}

/** A capture file that cannot be read: `code` is ERR_CAPTURE_FILE. */
export function captureFileError(message: string): Error {
  return Object.assign(new Error(message), { code: "ERR_CAPTURE_FILE" });
}

/** Parses one capture file, which comes in pieces of any size. Throws ERR_CAPTURE_FILE where the file is damaged. */
export class CaptureFileReader {
  /** The packets so far. */
  packets = 0;
  readonly #onFrame: OnFrame;
  #rest: Uint8Array = new Uint8Array(0);
  /** Bytes before those of `#rest`. */
  #offset = 0;
  /** Bytes of a long block that are still to be skipped. */
  #skip = 0;
  /** Parses one record; null before the first bytes have shown the format. */
  #take: ((bytes: Uint8Array) => number) | null = null;
  #isLittle = true;
  #pcap = { link: 0, nsPerUnit: 1000n };
  #interfaces: Interface[] = [];

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  /** The next bytes of the file. */
  push(chunk: Uint8Array): void {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    for (;;) {
      const taken = this.#skip > 0 ? this.#skipNow(bytes) : this.#takeOne(bytes);
      if (taken === 0) break;
      this.#offset += taken;
      bytes = bytes.subarray(taken);
    }
    // The caller may use the memory of the chunk again.
    this.#rest = Uint8Array.from(bytes);
  }

  /** The file has ended. Returns how many bytes of an unfinished record it ends with: above 0 it was cut off. */
  end(): number {
    if (this.#take === null) {
      throw captureFileError(this.#rest.length === 0 ? "the file is empty" : NOT_A_CAPTURE);
    }
    return this.#rest.length + this.#skip;
  }

  /** Returns how many bytes were used, 0 where more are needed. */
  #takeOne(bytes: Uint8Array): number {
    if (this.#take !== null) return this.#take(bytes);
    if (bytes[0] === 0x1f && bytes[1] === 0x8b)
      throw captureFileError("the file is compressed: use gunzip first");
    if (bytes.length < 4) return 0;
    for (const isLittle of [true, false]) {
      const magic = view(bytes).getUint32(0, isLittle);
      if (magic === SECTION) this.#take = this.#takeBlock;
      const nsPerUnit = PCAP[magic];
      if (nsPerUnit === undefined) continue;
      if (bytes.length < 24) return 0;
      this.#isLittle = isLittle;
      // The upper bits have the length of the frame check sequence.
      this.#pcap = { link: view(bytes).getUint32(20, isLittle) & 0xffff, nsPerUnit };
      this.#checkLink(this.#pcap.link);
      this.#take = this.#takeRecord;
      return 24;
    }
    if (this.#take === null) throw captureFileError(NOT_A_CAPTURE);
    return this.#takeOne(bytes);
  }

  #takeRecord = (bytes: Uint8Array): number => {
    if (bytes.length < 16) return 0;
    const { link, nsPerUnit } = this.#pcap;
    const header = view(bytes);
    const captured = header.getUint32(8, this.#isLittle);
    this.#checkLength(captured);
    if (bytes.length < 16 + captured) return 0;
    const seconds = BigInt(header.getUint32(0, this.#isLittle));
    const stampNs = seconds * NS_PER_SECOND + BigInt(header.getUint32(4, this.#isLittle)) * nsPerUnit;
    const wireBytes = header.getUint32(12, this.#isLittle);
    this.#emit(bytes.subarray(16, 16 + captured), stampNs, wireBytes, link);
    return 16 + captured;
  };

  #takeBlock = (bytes: Uint8Array): number => {
    if (bytes.length < 12) return 0;
    // The type of a section's header reads the same in both byte orders.
    if (view(bytes).getUint32(0) === SECTION) this.#startSection(view(bytes).getUint32(8));
    const type = view(bytes).getUint32(0, this.#isLittle);
    const length = view(bytes).getUint32(4, this.#isLittle);
    if (length < 12 || length % 4 !== 0) throw this.#damageError(`a block of ${length} bytes`);
    if (![INTERFACE, OLD_PACKET, SIMPLE_PACKET, PACKET].includes(type)) {
      this.#skip = length;
      return this.#skipNow(bytes);
    }
    if (length > LONGEST_BLOCK) throw this.#damageError(`a block of ${length} bytes`);
    if (bytes.length < length) return 0;
    if (view(bytes).getUint32(length - 4, this.#isLittle) !== length) {
      throw this.#damageError("a block whose two lengths differ");
    }
    this.#readBlock(type, bytes.subarray(8, length - 4));
    return length;
  };

  /** Skips the bytes of a block that are here, and returns how many. */
  #skipNow({ length }: Uint8Array): number {
    const now = Math.min(this.#skip, length);
    this.#skip -= now;
    return now;
  }

  #startSection(order: number): void {
    if (order !== BYTE_ORDER && order !== 0x4d3c2b1a)
      throw this.#damageError("a section without a byte order");
    this.#isLittle = order !== BYTE_ORDER;
    this.#interfaces = [];
  }

  #readBlock(type: number, body: Uint8Array): void {
    const least = { [INTERFACE]: 8, [SIMPLE_PACKET]: 4 }[type] ?? 20;
    if (body.length < least) throw this.#damageError("a block without its fields");
    if (type === INTERFACE) this.#addInterface(body);
    else if (type === SIMPLE_PACKET) this.#readSimple(body);
    else this.#readPacket(body, type);
  }

  #addInterface(body: Uint8Array): void {
    if (this.#interfaces.length >= MOST_INTERFACES) throw this.#damageError("too many interfaces");
    const fields = view(body);
    const link = fields.getUint16(0, this.#isLittle);
    let unitsPerSecond = 1_000_000n;
    let offsetSeconds = 0n;
    for (let at = 8; at + 4 <= body.length; ) {
      const code = fields.getUint16(at, this.#isLittle);
      const length = fields.getUint16(at + 2, this.#isLittle);
      if (code === 0 || at + 4 + length > body.length) break;
      if (code === RESOLUTION && length === 1) unitsPerSecond = resolution(body[at + 4]!);
      if (code === IF_TSOFFSET && length === 8) offsetSeconds = fields.getBigInt64(at + 4, this.#isLittle);
      at += 4 + 4 * Math.ceil(length / 4);
    }
    const snapBytes = fields.getUint32(4, this.#isLittle) || LONGEST_PACKET;
    this.#interfaces.push({ link, snapBytes, unitsPerSecond, offsetSeconds });
  }

  #readSimple(body: Uint8Array): void {
    const { link, snapBytes } = this.#interface(0);
    const wireBytes = view(body).getUint32(0, this.#isLittle);
    const captured = Math.min(wireBytes, snapBytes, body.length - 4);
    this.#emit(body.subarray(4, 4 + captured), 0n, wireBytes, link);
  }

  #readPacket(body: Uint8Array, type: number): void {
    const fields = view(body);
    const index = type === PACKET ? fields.getUint32(0, this.#isLittle) : fields.getUint16(0, this.#isLittle);
    const { link, unitsPerSecond, offsetSeconds } = this.#interface(index);
    const high = BigInt(fields.getUint32(4, this.#isLittle));
    const units = (high << 32n) | BigInt(fields.getUint32(8, this.#isLittle));
    const captured = fields.getUint32(12, this.#isLittle);
    this.#checkLength(captured);
    if (captured > body.length - 20) throw this.#damageError("a packet that is longer than its block");
    const stampNs = (units * NS_PER_SECOND) / unitsPerSecond + offsetSeconds * NS_PER_SECOND;
    this.#emit(body.subarray(20, 20 + captured), stampNs, fields.getUint32(16, this.#isLittle), link);
  }

  #interface(index: number): Interface {
    const found = this.#interfaces[index];
    if (!found) throw this.#damageError(`a packet of interface ${index}, which is not declared`);
    return found;
  }

  #emit(bytes: Uint8Array, stampNs: bigint, wireBytes: number, link: number): void {
    this.packets++;
    this.#onFrame({ bytes, stampNs, wireBytes }, link);
  }

  /** A pcap file has one link type. In pcapng, other interfaces may have one that can be read. */
  #checkLink(link: number): void {
    if (isKnownLink(link)) return;
    throw captureFileError(
      `link type ${link} cannot be read: use Ethernet, Linux cooked, raw IP or loopback (tcpdump -y)`,
    );
  }

  #checkLength(captured: number): void {
    if (captured > LONGEST_PACKET) throw this.#damageError(`a packet of ${captured} bytes`);
  }

  #damageError(what: string): Error {
    return captureFileError(`the file is damaged: ${what} at byte ${this.#offset}`);
  }
}

const NOT_A_CAPTURE = "this is neither a pcap nor a pcapng file";

/** if_tsresol: the negative power of 10, or with the highest bit of 2. */
function resolution(value: number): bigint {
  return value & 0x80 ? 2n ** BigInt(Math.min(63, value & 0x7f)) : 10n ** BigInt(Math.min(18, value));
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** How a capture file ended. */
export interface CaptureFileEnd {
  /** How many packets the file has. */
  readonly packets: number;
  /** Bytes of an unfinished record at the end; above 0 the file was cut off. */
  readonly cutBytes: number;
}

/**
 * Reads a capture file, pcap or pcapng, in bounded memory. Throws ERR_CAPTURE_FILE for another format, for a link type
 * that cannot be read, and where the file is damaged.
 */
export async function readCaptureFile(
  pieces: AsyncIterable<Uint8Array>,
  onFrame: OnFrame,
): Promise<CaptureFileEnd> {
  checkPieces("readCaptureFile()", pieces);
  const reader = new CaptureFileReader(onFrame);
  for await (const piece of pieces) reader.push(piece);
  const cutBytes = reader.end();
  return { packets: reader.packets, cutBytes };
}

/** Throws ERR_INVALID_ARGUMENT for what is no stream of bytes. */
export function checkPieces(of: string, pieces: AsyncIterable<Uint8Array>): void {
  if (typeof pieces === "object" && typeof pieces?.[Symbol.asyncIterator] === "function") return;
  const message = `${of} takes a stream of bytes, as createReadStream(file)`;
  throw invalidArgument("ERR_INVALID_ARGUMENT", message);
}
