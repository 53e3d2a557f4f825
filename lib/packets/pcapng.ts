/** Writes captured packets as pcapng (draft-ietf-opsawg-pcapng), which Wireshark opens. Pure. */
import { checkArray, checkShape } from "../socket/misuse.ts";
import type { CaptureCounts, Frame } from "./capture.ts";
import { ETHERNET } from "./link.ts";

/** The metadata of the file. */
export interface PcapngOptions {
  /** The interface's name. */
  readonly device: string;
  /** The capture filter, in the syntax of pcap-filter(7). */
  readonly filter: string;
  /** A comment on the whole file. */
  readonly comment: string;
  /** "Linux 6.18". */
  readonly system: string;
  /** "selfconnect 0.1.0". */
  readonly application: string;
  /** How many packets were received and lost, for the statistics block. */
  readonly counts: CaptureCounts;
}

/** A captured frame, and the comment that Wireshark displays with it. */
export interface CommentedFrame {
  readonly frame: Frame;
  readonly comment: string;
}

export const SECTION = 0x0a0d0d0a;
export const INTERFACE = 1;
const STATISTICS = 5;
export const PACKET = 6;
export const BYTE_ORDER = 0x1a2b3c4d;
const OUTBOUND = 2;
const NANOSECONDS = 9;
/** The most bytes kept of each packet, as in native/core/capture.cc. */
export const LONGEST_PACKET = 1 << 18;

/** Option codes: of every block, of the section, the interface, a packet, the statistics. */
const COMMENT = 1;
const USER_APPLICATION = 4;
const OPERATING_SYSTEM = 3;
const NAME = 2;
export const RESOLUTION = 9;
const FILTER = 11;
const FLAGS = 2;
const RECEIVED = 4;
const DROPPED = 5;

type Piece = Uint8Array;

/** Returns the whole file, in little-endian order on every machine. */
export function pcapng(frames: readonly CommentedFrame[], options: PcapngOptions): Uint8Array {
  checkArray("pcapng() takes an array of frames", frames, ["frame", "comment"]);
  checkShape("pcapng() takes what a Capture counted", options, [
    "comment",
    "system",
    "application",
    "counts",
  ]);
  return concatenate([
    sectionBlock(options),
    interfaceBlock(options),
    ...frames.map(packetBlock),
    statisticsBlock(frames, options.counts),
  ]);
}

function sectionBlock({ comment, system, application }: PcapngOptions): Piece {
  const wholeLength = u64(0xffff_ffff_ffff_ffffn); // Unknown: read on until the file ends.
  return block(SECTION, [
    u32(BYTE_ORDER),
    u16(1),
    u16(0),
    wholeLength,
    textOption(COMMENT, comment),
    textOption(OPERATING_SYSTEM, system),
    textOption(USER_APPLICATION, application),
  ]);
}

function interfaceBlock({ device, filter, system }: PcapngOptions): Piece {
  const libpcapText = Uint8Array.of(0, ...utf8(filter));
  return block(INTERFACE, [
    u16(ETHERNET),
    u16(0),
    u32(LONGEST_PACKET),
    textOption(NAME, device),
    option(RESOLUTION, Uint8Array.of(NANOSECONDS)),
    option(FILTER, libpcapText),
    textOption(12, system),
  ]);
}

function packetBlock({ frame, comment }: CommentedFrame): Piece {
  return block(PACKET, [
    u32(0),
    ...stamp(frame.stampNs),
    u32(frame.bytes.length),
    u32(frame.wireBytes),
    pad(frame.bytes),
    textOption(COMMENT, comment),
    option(FLAGS, u32(OUTBOUND)),
  ]);
}

function statisticsBlock(frames: readonly CommentedFrame[], counts: CaptureCounts): Piece {
  return block(STATISTICS, [
    u32(0),
    ...stamp(frames.at(-1)?.frame.stampNs ?? 0n),
    option(RECEIVED, u64(BigInt(counts.passed))),
    option(DROPPED, u64(BigInt(counts.lost))),
  ]);
}

/** Encodes a block: its type, length, fields and options, the end of options, and the length again. */
function block(type: number, fields: readonly Piece[]): Piece {
  const body = concatenate([...fields, u32(0)]);
  const length = u32(body.length + 12);
  return concatenate([u32(type), length, body, length]);
}

function option(code: number, value: Piece): Piece {
  return concatenate([u16(code), u16(value.length), pad(value)]);
}

/** Returns nothing for an empty text. */
function textOption(code: number, text: string): Piece {
  return text === "" ? new Uint8Array(0) : option(code, utf8(text));
}

function stamp(ns: bigint): Piece[] {
  return [u32(Number(ns >> 32n)), u32(Number(ns & 0xffff_ffffn))];
}

function utf8(text: string): Piece {
  return new TextEncoder().encode(text);
}

function pad(bytes: Piece): Piece {
  const out = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  out.set(bytes);
  return out;
}

function concatenate(pieces: readonly Piece[]): Piece {
  const out = new Uint8Array(pieces.reduce((total, piece) => total + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

function u16(value: number): Piece {
  return writeBytes(2, (view) => view.setUint16(0, value, true));
}

function u32(value: number): Piece {
  return writeBytes(4, (view) => view.setUint32(0, value, true));
}

function u64(value: bigint): Piece {
  return writeBytes(8, (view) => view.setBigUint64(0, value, true));
}

function writeBytes(length: number, write: (view: DataView) => void): Piece {
  const bytes = new Uint8Array(length);
  write(new DataView(bytes.buffer));
  return bytes;
}
