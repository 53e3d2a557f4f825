/** Explains a self-connect or a simultaneous open in a capture file, from the same code as a live trace. */
import { createReadStream } from "node:fs";
import type { Address } from "../socket/address.ts";
import { formatAddress, isSameAddress } from "../socket/address.ts";
import type { Frame } from "./capture.ts";
import { captureFileError, checkPieces, readCaptureFile } from "./capture-file.ts";
import type { Segment } from "./decode.ts";
import { decodeFrame, isOpening } from "./decode.ts";
import { framesBetween, ladderOf } from "./ladder.ts";
import { ETHERNET, ETHERNET_BYTES, findIp } from "./link.ts";
import type { Trace } from "./trace.ts";

/** A connection in a capture file whose first packet was captured. */
interface Connection {
  readonly ends: readonly [Address, Address];
  readonly frames: Frame[];
  /** The ends that sent a SYN without ACK: 0, 1 or both. */
  readonly opened: Set<number>;
}

/** What was found in a capture file. */
export interface TraceReading {
  /** The first self-connect or simultaneous open of the file, explained. */
  readonly trace: Trace;
  /** How many connections of the file are self-connects or simultaneous opens; the first is explained. */
  readonly found: number;
}

/** Connections beyond these bounds are not looked at. */
const MOST_CONNECTIONS = 10_000;
const MOST_FRAMES = 512;
const MOST_BYTES = 64 * 1024 * 1024;

/**
 * Reads a capture file, pcap or pcapng, and explains its first self-connect or simultaneous open. Needs no addon and no
 * privilege; memory is bounded. Throws ERR_CAPTURE_FILE where the file has none, or cannot be read.
 */
export async function readTrace(source: string | AsyncIterable<Uint8Array>): Promise<TraceReading> {
  if (typeof source !== "string") checkPieces("readTrace()", source);
  const stream = typeof source === "string" ? createReadStream(source) : source;
  const connections = new Map<string, Connection>();
  const counts = { bytes: 0, left: 0 };
  const { packets } = await readCaptureFile(stream, (frame, link) => keep(connections, counts, frame, link));
  const joined = [...connections.values()].filter(isSimultaneous);
  const [first] = joined;
  if (!first) {
    const others = `${packets} packets, ${connections.size} connections`;
    throw captureFileError(`no self-connect and no simultaneous open is in the file: ${others}`);
  }
  return { trace: explain(first, counts.left), found: joined.length };
}

function keep(
  connections: Map<string, Connection>,
  counts: { bytes: number; left: number },
  frame: Frame,
  link: number,
): void {
  const segment = decodeFrame(frame.bytes, link);
  if ("problem" in segment) return;
  const texts = [formatAddress(segment.from), formatAddress(segment.to)];
  const key = texts.toSorted().join(" ");
  const isSyn = isOpening(segment);
  let connection = connections.get(key);
  if (!connection) {
    if (!isSyn || connections.size >= MOST_CONNECTIONS) return;
    connection = { ends: [segment.from, segment.to], frames: [], opened: new Set() };
    connections.set(key, connection);
  }
  if (connection.frames.length >= MOST_FRAMES || counts.bytes > MOST_BYTES) {
    counts.left++;
    return;
  }
  if (isSyn) connection.opened.add(senderOf(segment, connection));
  const kept = toEthernet(frame, link);
  counts.bytes += kept.bytes.length;
  connection.frames.push(kept);
}

function senderOf({ from }: Segment, { ends }: Connection): number {
  return isSameAddress(from, ends[0]) ? 0 : 1;
}

function isSelf({ ends }: Connection): boolean {
  return isSameAddress(ends[0], ends[1]);
}

function isSimultaneous(connection: Connection): boolean {
  return isSelf(connection) || connection.opened.size === 2;
}

/** Copies a frame, with an Ethernet header for that of its link, so that one file can have all. */
function toEthernet({ bytes, wireBytes, stampNs }: Frame, link: number): Frame {
  const payload = findIp(bytes, link);
  if (link === ETHERNET || typeof payload === "string") return { bytes: bytes.slice(), wireBytes, stampNs };
  const moved = new Uint8Array(ETHERNET_BYTES + bytes.length - payload.at);
  moved.set(payload.family === 4 ? [0x08, 0x00] : [0x86, 0xdd], ETHERNET_BYTES - 2);
  moved.set(bytes.subarray(payload.at), ETHERNET_BYTES);
  return { bytes: moved, wireBytes: wireBytes + ETHERNET_BYTES - payload.at, stampNs };
}

function explain(connection: Connection, left: number): Trace {
  const { frames, ends } = connection;
  const isPair = !isSelf(connection);
  const [one, other] = ends;
  const title = isPair
    ? `Simultaneous open between ${formatAddress(one)} and ${formatAddress(other)}`
    : `${formatAddress(one)} connects to itself`;
  const ladder = ladderOf(frames, isPair ? ends : [one], title);
  return {
    verdict: isPair ? "simultaneous-open" : "self-connect",
    isPair,
    attempts: 1,
    closing: ladder.rows.some(({ flags }) => flags.includes("RST")) ? "reset" : "close",
    ladder,
    frames: framesBetween(frames, one, other).own,
    capture: { device: "a file", filter: "tcp", keptCopy: "all", passed: frames.length + left, lost: 0 },
    whyNoCapture: null,
    samples: [],
    agrees: null,
    information: [],
    received: new Uint8Array(0),
  };
}
