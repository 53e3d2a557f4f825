/** One self-connect, packet by packet, as the object of docs/schema/trace-1.json, as text and as pcapng. */
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import type { Leaving } from "../packets/leavings.ts";
import { pcapng } from "../packets/pcapng.ts";
import type { CaptureSummary, Trace } from "../packets/trace.ts";
import type { Address } from "../socket/address.ts";
import { informationText, LEAVING_COLUMNS, ladderLines, leavingTexts } from "./ladder-text.ts";
import { count, pluralize } from "./numbers.ts";
import type { Line, Piece, TextOptions } from "./terminal.ts";
import { indent, paint, renderText, tableLines } from "./terminal.ts";

/** What a report of a trace shows in addition. */
export interface TraceExtras {
  /** The data that was sent and should come back; null if nothing was sent. */
  readonly sent: string | null;
  /** What each way to close leaves behind; null if not tried. */
  readonly leavings: readonly Leaving[] | null;
}

/** The object of docs/schema/trace-1.json. */
export interface TraceReport extends Omit<Trace, "frames" | "received"> {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.trace/1";
  /** The address that was connected to. */
  readonly peer: Address;
  /** What was sent and received; null without data. */
  readonly data: { readonly sent: string; readonly received: string } | null;
  /** What each way to close leaves behind; null when not asked for. */
  readonly leavings: readonly Leaving[] | null;
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

const ARRIVED = ["self-connect", "simultaneous-open"];

/** The object of docs/schema/trace-1.json. */
export function traceReport(peer: Address, traced: Trace, { sent, leavings }: TraceExtras): TraceReport {
  const { frames: _, received, ...rest } = traced;
  return {
    schema: "selfconnect.trace/1",
    peer,
    ...rest,
    data: sent === null ? null : { sent, received: new TextDecoder().decode(received) },
    leavings,
    environment: environment(),
  };
}

/** The packets for Wireshark and tshark, with states and reasons as comments; null without packets. */
export function tracePcapng({ ladder, frames, capture }: Trace): Uint8Array | null {
  if (!capture || ladder.rows.length === 0) return null;
  const { device, filter, passed, lost } = capture;
  const { kernel, version } = environment();
  const commented = frames.map(({ frame }, index) => {
    const { sent, received, why } = ladder.rows[index]!;
    return { frame, comment: `${sent.after} -> ${received.after}: ${why}` };
  });
  return pcapng(commented, {
    device,
    filter,
    comment:
      capture.keptCopy === "all"
        ? `${ladder.title}.`
        : `${ladder.title}. Loopback passes every packet twice; these are the outgoing copies.`,
    system: `Linux ${kernel}`,
    application: `selfconnect ${version}`,
    counts: { passed, lost },
  });
}

/** Loopback delivers a SYN in the call that sends it. */
const NEEDS_TWO = "two SYNs cross on loopback only where two processors send them at the same moment";

/** A trace for a terminal: the ladder, the states and who reported them, what each way to close leaves behind. */
export function traceText(traced: Trace, extras: TraceExtras, options: TextOptions = {}): string {
  const { ladder, whyNoCapture, verdict, capture, information } = traced;
  const lines: Line[] = [[paint("bold", ladder.title), attemptsText(traced)], ""];
  if (whyNoCapture) lines.push(`no packets: ${whyNoCapture}`, "");
  if (ladder.rows.length > 0) lines.push(...ladderLines(ladder));
  if (!ARRIVED.includes(verdict)) lines.push(`not connected: ${verdict}`);
  if (traced.isPair && verdict === "attempts-spent") lines.push(NEEDS_TWO);
  const facts = [
    ...stateFacts(traced),
    ...(capture
      ? captureFacts(traced, capture)
      : information.map((one) => ["TCP_INFO", informationText(one)])),
    ...(extras.sent === null ? [] : [["data", echoText(traced, extras.sent)]]),
  ];
  lines.push(...tableLines(facts, "ll"));
  if (extras.leavings) lines.push(...leavingLines(extras.leavings));
  return renderText(lines, options);
}

function attemptsText({ isPair, attempts }: Trace): string {
  if (attempts === 1) return "";
  const others = isPair ? ": in the earlier ones a SYN came too early and got an RST" : "";
  return `, at attempt ${count(attempts)}${others}`;
}

function stateFacts({ ladder, samples, agrees }: Trace): Piece[][] {
  const facts: Piece[][] = [];
  for (const [end, { name, path }] of ladder.ends.entries()) {
    const who = name && `${name}: `;
    if (ladder.rows.length > 0) facts.push(["states", `${who}${path.join(" → ")}`]);
    const reported = samples.filter((sample) => sample.end === end);
    const seen = reported.map(({ state, source }) => `${state} (${source})`).join(", ");
    facts.push(["kernel", `${who}${seen || "not observed"}`]);
  }
  if (agrees === true) facts.push(["", "agrees with the packets"]);
  if (agrees === false) facts.push(["", paint("red", "does NOT agree with the packets")]);
  return facts;
}

function captureFacts(
  { ladder, frames }: Trace,
  { device, passed, lost, keptCopy }: CaptureSummary,
): Piece[][] {
  const copy = "only the outgoing copies, because loopback passes every packet twice";
  const whole = lost === 0 ? "; none lost" : "";
  const text = keptCopy === "all" ? `from ${device}` : `on ${device}, ${copy}${whole}`;
  const facts: Piece[][] = [["captured", `${packetsText(frames.length)} ${text}`]];
  if (lost > 0) facts.push(["", paint("red", `${packetsText(lost)} LOST: the ladder has gaps`)]);
  const more = passed - lost - frames.length - ladder.others.length;
  const which = keptCopy === "all" ? "more" : "of earlier attempts";
  if (more > 0) facts.push(["", `${packetsText(more)} ${which} left out`]);
  if (ladder.truncated > 0) facts.push(["", `${packetsText(ladder.truncated)} cut short`]);
  if (ladder.others.length > 0) {
    const reasons = [...new Set(ladder.others)].join("; ");
    facts.push(["", `${packetsText(ladder.others.length)} left out: ${reasons}`]);
  }
  return facts;
}

function echoText({ isPair, received }: Trace, data: string): string {
  const reader = isPair ? "B" : "the same socket";
  const read = new TextDecoder().decode(received);
  return `wrote ${JSON.stringify(data)}, ${reader} read ${JSON.stringify(read)}`;
}

function leavingLines(table: readonly Leaving[]): Line[] {
  return [
    "",
    "what each way to close leaves behind (each tried on a new port), and who can listen meanwhile",
    ...indent("  ", tableLines([LEAVING_COLUMNS, ...table.map(leavingTexts)], "lllll")),
  ];
}

function packetsText(packets: number): string {
  return pluralize(packets, "packet");
}
