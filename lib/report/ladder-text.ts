/** The ladder, TCP_INFO and the table of leavings as text. */

import type { Flag, SegmentOptions } from "../packets/decode.ts";
import type { Ladder, LadderRow } from "../packets/ladder.ts";
import type { Leaving } from "../packets/leavings.ts";
import { formatAddress } from "../socket/address.ts";
import type { TcpInformation } from "../socket/option-structures.ts";
import { duration } from "./numbers.ts";
import type { Line, Piece, Style } from "./terminal.ts";
import { paint } from "./terminal.ts";

const STYLES = {
  time: "dim",
  state: "green",
  flags: ["bold", "cyan"],
  line: "cyan",
  detail: "dim",
} satisfies Record<string, Style>;

const TIME_WIDTH = 10;
const STATE_WIDTH = 12;
const ARROW_WIDTH = 38;
const INDENT = " ".repeat(TIME_WIDTH + 2);

/** The lines of the ladder: each packet, followed by its numbers and its reason. */
export function ladderLines(ladder: Ladder): Line[] {
  const [one, other] = ladder.ends;
  const left = other ? `A ${formatAddress(one!.address)}` : "sender in";
  const right = other ? `B ${formatAddress(other.address)}` : "receiver then in";
  const head = `${INDENT}${left.padEnd(STATE_WIDTH + ARROW_WIDTH + 2)}${right}`;
  const closed = paint(STYLES.state, "CLOSED");
  const between = " ".repeat(STATE_WIDTH - 6 + ARROW_WIDTH + 2);
  const start = [INDENT, closed, ...(other ? [between, closed] : [])];
  return [head, start, ...ladder.rows.flatMap((row) => rowLines(row, other !== undefined))];
}

function rowLines(row: LadderRow, isPair: boolean): Line[] {
  const isBack = isPair && row.from === 1;
  const [left, right] = isBack ? [row.received.after, row.sent.after] : [row.sent.after, row.received.after];
  const time = paint(STYLES.time, timeText(row.timeNs).padStart(TIME_WIDTH));
  const states = [left.padEnd(STATE_WIDTH), right].map((state) => paint(STYLES.state, state)) as [
    Piece,
    Piece,
  ];
  const details = [numbersText(row), ...optionLines(row)];
  return [
    [time, "  ", states[0], " ", ...arrowPieces(row, isBack), " ", states[1]],
    ...details.map((detail) => [INDENT, paint(STYLES.detail, detail)]),
    ...wrapText(crossedText(row) + row.why, 66).map((reason) => INDENT + reason),
    "",
  ];
}

function arrowPieces(row: LadderRow, isBack: boolean): Piece[] {
  const label = ` ${flagsText(row.flags)}${row.dataBytes > 0 ? ` ${dataText(row, 18)}` : ""} `;
  const line = "─".repeat(Math.max(2, ARROW_WIDTH - label.length - 4));
  return [
    paint(STYLES.line, isBack ? `◀${line}` : "───"),
    paint(STYLES.flags, label),
    paint(STYLES.line, isBack ? "───" : `${line}▶`),
  ];
}

/** "SYN+ACK"; PSH is omitted unless it is the only flag. */
export function flagsText(flags: readonly Flag[]): string {
  const shown = flags.filter((flag) => flag !== "PSH");
  return (shown.length > 0 ? shown : flags).join("+") || "no flags";
}

/** "seq 0 (1825820246)  ack 1 (1825820247)  window 65495". */
export function numbersText({ sequence, acknowledgement, window }: LadderRow): string {
  const seq = `seq ${sequence.relative} (${sequence.absolute})`;
  const ack = acknowledgement ? `  ack ${acknowledgement.relative} (${acknowledgement.absolute})` : "";
  return `${seq}${ack}  window ${window}`;
}

/** "MSS 65495, SACK permitted, timestamps 1 0, window scale 10"; "" without options. */
export function optionsText(options: SegmentOptions): string {
  const { maxSegmentBytes, sackPermitted, sack, timestamps, windowScale, otherKinds } = options;
  const parts = [
    maxSegmentBytes !== undefined && `MSS ${maxSegmentBytes}`,
    windowScale !== undefined && `window scale ${windowScale}`,
    sackPermitted && "SACK permitted",
    timestamps && `timestamps ${timestamps.value} ${timestamps.echo}`,
    sack && `SACK ${sack.map(({ left, right }) => `${left}-${right}`).join(" ")}`,
    otherKinds && `option ${otherKinds.join(" ")}`,
  ];
  // Lines break between options, not within one.
  return parts
    .filter((part) => typeof part === "string")
    .map((part) => part.replaceAll(" ", "\u00a0"))
    .join(", ");
}

/** Nanoseconds as "0 µs", "38.2 µs", "1.204 ms", "2.031 s". */
export function timeText(ns: number): string {
  if (ns < 1e6) return `${(ns / 1e3).toFixed(1)} µs`;
  return ns < 1e9 ? `${(ns / 1e6).toFixed(3)} ms` : `${(ns / 1e9).toFixed(3)} s`;
}

/** The data in quotes, cut to a width. */
export function dataText({ text, dataBytes }: LadderRow, width: number): string {
  const shown = text && text.length <= width ? text : `${text?.slice(0, width - 1)}…`;
  return `"${shown}" ${dataBytes} B`;
}

export function crossedText({ crossed }: LadderRow): string {
  return crossed > 0 ? "crosses a packet in the other direction; " : "";
}

/** The fields of TCP_INFO that matter here, in one line. */
export function informationText(information: TcpInformation): string {
  const { state, segmentsOut, segmentsIn, sendSegmentBytes, roundTripTimeUs, bytesReceived } = information;
  const parts = [
    state,
    `segments out ${segmentsOut}, in ${segmentsIn}`,
    `MSS ${sendSegmentBytes}`,
    `round trip ${roundTripTimeUs} µs`,
    `bytes received ${bytesReceived}`,
  ];
  return parts.join(", ");
}

/** The headings of the table of leavings. */
export const LEAVING_COLUMNS = ["closed by", "leaves", "for", "a server", "with SO_REUSEADDR"] as const;

/** The row of one way to close, one text per column. */
export function leavingTexts({ closing, hadReuseAddress, left, remainingMs, ...row }: Leaving): string[] {
  const names = { shutdown: "shutdown(), close()", close: "close()", reset: "reset()" };
  const name = closing ? names[closing] : "not closed";
  return [
    hadReuseAddress ? `${name}, with SO_REUSEADDR` : name,
    left === "CLOSED" ? "nothing" : left,
    remainingMs > 0 ? duration(remainingMs) : "",
    row.listen ?? "starts",
    row.listenWithReuseAddress ?? "starts",
  ];
}

function optionLines({ options }: LadderRow): string[] {
  return wrapText(optionsText(options), 66);
}

/** Lines of at most `width`, broken at spaces. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ").filter(Boolean)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
