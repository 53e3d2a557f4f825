/** The ladder: captured packets in order, with the states of their ends and reasons. Plain data, fit for JSON. */

import type { Address } from "../socket/address.ts";
import { dropScope, formatAddress, isSameAddress } from "../socket/address.ts";
import { checkArray } from "../socket/misuse.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import type { Frame } from "./capture.ts";
import type { Flag, Segment, SegmentOptions } from "./decode.ts";
import { decodeFrame, isOpening } from "./decode.ts";
import { reasonFor } from "./reasons.ts";
import type { Course, Step } from "./states.ts";
import { follow } from "./states.ts";

/** A 32-bit sequence number as in the packet, and relative to the initial one of its direction. */
export interface SequenceNumber {
  readonly absolute: number;
  readonly relative: number;
}

/** One packet: its sender, time and numbers, the states before and after, and why it was sent. */
export interface LadderRow {
  /** From 1. */
  readonly number: number;
  /** Nanoseconds since the first packet. */
  readonly timeNs: number;
  /** Nanoseconds since 1970, as a string, because JSON numbers cannot hold them exactly. */
  readonly stampNs: string;
  /** The end that sent it: an index into `ends`. */
  readonly from: number;
  /** The end that received it: an index into `ends`; of a self-connect the same. */
  readonly to: number;
  /** The control bits that are set. */
  readonly flags: readonly Flag[];
  /** The sequence number, absolute and from the initial one. */
  readonly sequence: SequenceNumber;
  /** null where ACK is not set. */
  readonly acknowledgement: SequenceNumber | null;
  /** The window field, as on the wire. */
  readonly window: number;
  /** The TCP options that it carries. */
  readonly options: SegmentOptions;
  /** Bytes of data, by the length in the IP header. */
  readonly dataBytes: number;
  /** The data as text, with a dot for each unprintable character; null without data. */
  readonly text: string | null;
  /** The state in which its sender sent it. */
  readonly sent: Step["sent"];
  /** The state in which it arrived, and that which it led to. */
  readonly received: Step["received"];
  /** How many packets its receiver sent while this one was on its way: above 0, packets crossed. */
  readonly crossed: number;
  /** Why the packet was sent. */
  readonly why: string;
}

/** One side of the ladder: a socket and its states. */
export interface LadderEnd {
  /** What to call it in a picture. */
  readonly name: string;
  /** Its local address. */
  readonly address: Address;
  /** The states that the packets imply, in order. */
  readonly path: readonly TcpState[];
}

/** All packets of one connection, in the order of their time stamps. */
export interface Ladder {
  /** One line about what happened. */
  readonly title: string;
  /** One for a self-connect, two for a pair. */
  readonly ends: readonly LadderEnd[];
  /** The packets, in order. */
  readonly rows: readonly LadderRow[];
  /**
   * Descriptions of frames that passed the filter but have another four-tuple, are of an earlier connection, or could
   * not be decoded.
   */
  readonly others: readonly string[];
  /** How many packets were captured in part. */
  readonly truncated: number;
}

const LONGEST_TEXT = 64;

/** A frame of this connection, with its segment. */
export interface OwnFrame {
  readonly frame: Frame;
  readonly segment: Segment;
}

/**
 * Returns the frames between two addresses in the order of their time stamps, from the first SYN, and descriptions of
 * the other frames. A packet of an earlier connection of theirs may still be on its way when a capture begins.
 */
export function framesBetween(
  frames: readonly Frame[],
  one: Address,
  other: Address,
): { own: OwnFrame[]; others: string[] } {
  const own: OwnFrame[] = [];
  const others: string[] = [];
  // Packets sent at the same moment on two processors may be queued in another order than that of their stamps.
  const inOrder = frames.toSorted((a, b) => Number(a.stampNs - b.stampNs));
  for (const frame of inOrder) {
    const segment = decodeFrame(frame.bytes);
    if ("problem" in segment) others.push(segment.problem);
    else if (isBetween(segment, one, other)) own.push({ frame, segment });
    else others.push(directionOf(segment));
  }
  const first = own.findIndex(({ segment }) => isOpening(segment));
  const earlier = own.splice(0, Math.max(0, first));
  others.push(...earlier.map(({ segment }) => `${directionOf(segment)}, before the first SYN`));
  return { own, others };
}

function directionOf({ from, to }: Segment): string {
  return `${formatAddress(from)} to ${formatAddress(to)}`;
}

/** Builds the ladder from captured frames. `addresses` has one address for a self-connect, two for a pair. */
export function ladderOf(frames: readonly Frame[], addresses: readonly Address[], title: string): Ladder {
  checkArray("ladderOf() takes frames of a Capture", frames, ["stampNs", "bytes"]);
  checkArray("ladderOf() takes one address or two", addresses, ["host", "port"]);
  const [one, other = one] = addresses as [Address, Address?];
  const { own, others } = framesBetween(frames, one, other);
  const isSelf = addresses.length === 1;
  const course = courseOf(own, addresses);
  return {
    title,
    ends: addresses.map((address, i) => ({ name: isSelf ? "" : "AB"[i]!, address, path: course.paths[i]! })),
    rows: ladderRowsOf(own, addresses, course),
    others,
    truncated: own.filter(({ frame }) => frame.bytes.length < frame.wireBytes).length,
  };
}

function courseOf(own: readonly OwnFrame[], addresses: readonly Address[]): Course {
  const signals = own.map(({ segment }) => ({ ...segment, end: endOf(segment, addresses) }));
  return follow(signals, addresses.length === 1 ? 1 : 2);
}

function ladderRowsOf(own: readonly OwnFrame[], addresses: readonly Address[], course: Course): LadderRow[] {
  const isSelf = addresses.length === 1;
  const initial = initialNumbers(own, addresses);
  const startNs = own[0]?.frame.stampNs ?? 0n;
  return own.map(({ frame, segment }, index) => {
    const from = endOf(segment, addresses);
    const to = isSelf ? 0 : 1 - from;
    const before = own.slice(0, index).map((earlier) => earlier.segment);
    const step = course.steps[index]!;
    const ofSender = before.filter((earlier) => endOf(earlier, addresses) === from);
    return {
      number: index + 1,
      timeNs: Number(frame.stampNs - startNs),
      stampNs: String(frame.stampNs),
      from,
      to,
      flags: segment.flags,
      sequence: countFrom(segment.sequence, initial[from]),
      acknowledgement: segment.flags.includes("ACK") ? countFrom(segment.acknowledgement, initial[to]) : null,
      window: segment.window,
      options: segment.options,
      dataBytes: segment.dataBytes,
      text: segment.dataBytes > 0 ? toPrintable(segment.data) : null,
      sent: step.sent,
      received: step.received,
      crossed: step.crossed,
      why: reasonFor({
        segment,
        step,
        isSelf,
        answers: step.answers === null ? null : own[step.answers]!.segment,
        isRepeat: ofSender.some((earlier) => isSameSegment(earlier, segment)),
      }),
    };
  });
}

/** The initial sequence number of each end: that of its SYN, or of its first captured packet. */
function initialNumbers(own: readonly OwnFrame[], addresses: readonly Address[]): (number | undefined)[] {
  return addresses.map((_, end) => {
    const sent = own.map(({ segment }) => segment).filter((segment) => endOf(segment, addresses) === end);
    return (sent.find((segment) => segment.flags.includes("SYN")) ?? sent[0])?.sequence;
  });
}

function countFrom(absolute: number, initial: number | undefined): SequenceNumber {
  return { absolute, relative: initial === undefined ? absolute : (absolute - initial) >>> 0 };
}

function isSameSegment(one: Segment, other: Segment): boolean {
  return (
    one.sequence === other.sequence &&
    one.dataBytes === other.dataBytes &&
    String(one.flags) === String(other.flags)
  );
}

function endOf(segment: Segment, addresses: readonly Address[]): number {
  return addresses.length > 1 && isSameAddress(segment.from, dropScope(addresses[1]!)) ? 1 : 0;
}

function isBetween(segment: Segment, one: Address, other: Address): boolean {
  const { from, to } = segment;
  const is = (sender: Address, receiver: Address) =>
    isSameAddress(from, dropScope(sender)) && isSameAddress(to, dropScope(receiver));
  return is(one, other) || is(other, one);
}

function toPrintable(data: Uint8Array): string {
  const text = new TextDecoder().decode(data.subarray(0, LONGEST_TEXT)).replaceAll(/[^\x20-\x7e]/g, ".");
  return data.length > LONGEST_TEXT ? `${text}…` : text;
}
