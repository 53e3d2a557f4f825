/** Decodes a captured frame to one TCP segment. Pure; never throws, whatever the bytes. */
import type { Address } from "../socket/address.ts";
import { hostText } from "../socket/address-text.ts";
import { invalidArgument } from "../socket/misuse.ts";
import { ETHERNET, findIp } from "./link.ts";

/** The control bits of RFC 9293 section 3.1, in the usual order ("SYN,ACK"). */
export type Flag = "SYN" | "FIN" | "RST" | "PSH" | "ACK" | "URG" | "ECE" | "CWR";

/** RFC 2018: received sequence numbers, from `left` to just before `right`. */
export interface SackBlock {
  readonly left: number;
  readonly right: number;
}

/** The decoded TCP options, and the numbers of the kinds that are not decoded. */
export interface SegmentOptions {
  /** MSS: the largest segment that the sender accepts (RFC 9293, section 3.7.1). */
  readonly maxSegmentBytes?: number;
  /** The shift count. */
  readonly windowScale?: number;
  /** The sender understands selective acknowledgements (RFC 2018); absent otherwise. */
  readonly sackPermitted?: true;
  /** Blocks received out of order, or twice (RFC 2018, RFC 2883). */
  readonly sack?: readonly SackBlock[];
  /** The sender's clock, and the last value that it has received (RFC 7323). */
  readonly timestamps?: { readonly value: number; readonly echo: number };
  /** The numbers of options that are not decoded. */
  readonly otherKinds?: readonly number[];
}

/** One TCP segment (RFC 9293 section 3.1) with the addresses of its IP header. */
export interface Segment {
  /** The sender: source address and port. */
  readonly from: Address;
  /** The receiver: destination address and port. */
  readonly to: Address;
  /** The control bits that are set: "SYN", "ACK" … */
  readonly flags: readonly Flag[];
  /** Absolute, as on the wire. */
  readonly sequence: number;
  /** Absolute, as on the wire; without meaning where ACK is not set. */
  readonly acknowledgement: number;
  /** As on the wire, before any scaling. */
  readonly window: number;
  /** The TCP options that it carries. */
  readonly options: SegmentOptions;
  /** Bytes of data, by the length in the IP header. */
  readonly dataBytes: number;
  /** The data that was captured, which may be less. */
  readonly data: Uint8Array;
}

/** Why a frame is not a whole TCP segment. */
export interface Undecoded {
  /** Why the frame is no TCP segment that can be read. */
  readonly problem: string;
}

const TCP = 6;
/** Hop-by-hop, routing, destination options: each begins with the type of the next header and with its length. */
const IPV6_EXTENSIONS = [0, 43, 60];
const IPV6_FRAGMENT = 44;
const FLAGS: readonly (readonly [Flag, number])[] = [
  ["SYN", 0x02],
  ["FIN", 0x01],
  ["RST", 0x04],
  ["PSH", 0x08],
  ["ACK", 0x10],
  ["URG", 0x20],
  ["ECE", 0x40],
  ["CWR", 0x80],
];

/** The IP packet of a frame, up to its TCP header. */
export interface TcpPacket {
  readonly family: 4 | 6;
  /** The source address, in network order. */
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  /** The captured bytes from the TCP header on. */
  readonly bytes: Uint8Array;
  /** The length from the TCP header on, by the IP header. */
  readonly length: number;
}

/** Whether it is the SYN of an active OPEN. */
export function isOpening({ flags }: Segment): boolean {
  return flags.includes("SYN") && !flags.includes("ACK");
}

/**
 * Returns the TCP segment in a frame, over IPv4 or IPv6, or the reason why there is none. `link` is the link type of
 * the capture, by default Ethernet. Never throws.
 */
export function decodeFrame(frame: Uint8Array, link = ETHERNET): Segment | Undecoded {
  if (!(frame instanceof Uint8Array)) {
    throw invalidArgument("ERR_INVALID_BYTES", "decodeFrame() takes the bytes of a frame");
  }
  if (typeof link !== "number") {
    throw invalidArgument("ERR_INVALID_ARGUMENT", "decodeFrame() takes the number of a link type");
  }
  const packet = findTcp(frame, link);
  return "problem" in packet ? packet : segmentOf(packet);
}

/** Returns the IP packet of a frame if it carries TCP, or the reason why there is none. Never throws. */
export function findTcp(frame: Uint8Array, link: number): TcpPacket | Undecoded {
  const payload = findIp(frame, link);
  if (typeof payload === "string") return problem(payload);
  const bytes = frame.subarray(payload.at);
  return payload.family === 4 ? ipv4Packet(bytes) : ipv6Packet(bytes);
}

function ipv4Packet(bytes: Uint8Array): TcpPacket | Undecoded {
  if (bytes.length < 20) return problem("the IPv4 header is cut off");
  const header = view(bytes);
  const headerBytes = 4 * (bytes[0]! & 15);
  const totalBytes = header.getUint16(2);
  if (bytes[0]! >> 4 !== 4 || headerBytes < 20) return problem("the IPv4 header is malformed");
  if (totalBytes < headerBytes) return problem("the IPv4 packet is shorter than its header");
  if (header.getUint16(6) & 0x3fff) return problem("the IPv4 packet is a fragment");
  if (bytes[9] !== TCP) return problem(`IP protocol ${bytes[9]} is not TCP`);
  return {
    family: 4,
    from: bytes.subarray(12, 16),
    to: bytes.subarray(16, 20),
    bytes: bytes.subarray(headerBytes, totalBytes),
    length: totalBytes - headerBytes,
  };
}

function ipv6Packet(bytes: Uint8Array): TcpPacket | Undecoded {
  if (bytes.length < 40) return problem("the IPv6 header is cut off");
  if (bytes[0]! >> 4 !== 6) return problem("the IPv6 header is malformed");
  const endsAt = 40 + view(bytes).getUint16(4);
  let next = bytes[6]!;
  let at = 40;
  while (IPV6_EXTENSIONS.includes(next)) {
    if (at + 2 > bytes.length) return problem("an IPv6 extension header is cut off");
    next = bytes[at]!;
    at += 8 * (bytes[at + 1]! + 1);
  }
  if (next === IPV6_FRAGMENT) return problem("the IPv6 packet is a fragment");
  if (next !== TCP) return problem(`IP protocol ${next} is not TCP`);
  if (at > endsAt) return problem("the IPv6 packet is shorter than its headers");
  return {
    family: 6,
    from: bytes.subarray(8, 24),
    to: bytes.subarray(24, 40),
    bytes: bytes.subarray(at, endsAt),
    length: endsAt - at,
  };
}

function segmentOf({ family, from, to, bytes, length }: TcpPacket): Segment | Undecoded {
  if (bytes.length < 20) return problem("the TCP header is cut off");
  const header = view(bytes);
  const headerBytes = 4 * (bytes[12]! >> 4);
  if (headerBytes < 20 || headerBytes > length) return problem("the TCP header is malformed");
  if (headerBytes > bytes.length) return problem("the TCP options are cut off");
  return {
    from: { family, host: hostText(from), port: header.getUint16(0) },
    to: { family, host: hostText(to), port: header.getUint16(2) },
    flags: FLAGS.filter(([, bit]) => bytes[13]! & bit).map(([flag]) => flag),
    sequence: header.getUint32(4),
    acknowledgement: header.getUint32(8),
    window: header.getUint16(14),
    options: optionsOf(bytes.subarray(20, headerBytes)),
    dataBytes: length - headerBytes,
    data: bytes.subarray(headerBytes),
  };
}

/** RFC 9293 section 3.2. Stops at the first option with an impossible length. */
function optionsOf(bytes: Uint8Array): SegmentOptions {
  let options: SegmentOptions = {};
  let at = 0;
  while (at < bytes.length && bytes[at] !== 0) {
    if (bytes[at] === 1) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (length < 2 || at + length > bytes.length) break;
    options = { ...options, ...optionOf(bytes[at]!, bytes.subarray(at + 2, at + length), options) };
    at += length;
  }
  return options;
}

function optionOf(kind: number, value: Uint8Array, others: SegmentOptions): SegmentOptions {
  const words = view(value);
  if (kind === 2 && value.length === 2) return { maxSegmentBytes: words.getUint16(0) };
  if (kind === 3 && value.length === 1) return { windowScale: value[0]! };
  if (kind === 4 && value.length === 0) return { sackPermitted: true };
  if (kind === 5 && value.length % 8 === 0) {
    const blocks = Array.from({ length: value.length / 8 }, (_, i) => i * 8);
    return { sack: blocks.map((i) => ({ left: words.getUint32(i), right: words.getUint32(i + 4) })) };
  }
  if (kind === 8 && value.length === 8) {
    return { timestamps: { value: words.getUint32(0), echo: words.getUint32(4) } };
  }
  return { otherKinds: [...(others.otherKinds ?? []), kind] };
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function problem(text: string): Undecoded {
  return { problem: text };
}
