/** selfconnect trace [peer]: one self-connect, packet by packet. */
import { writeFileSync } from "node:fs";
import { Argument, Command, Option } from "commander";
import type { Address } from "../index.ts";
import { formatAddress, SocketError } from "../index.ts";
import { environment, portFacts, socketTable } from "../kernel/index.ts";
import type { CaptureSummary, Closing, Leaving, Trace } from "../packets/index.ts";
import { CLOSINGS, observeLeavings, pcapng, trace } from "../packets/index.ts";
import { whyNever } from "../ports/index.ts";
import type { Paint } from "../report/index.ts";
import {
  informationText,
  LEAVING_COLUMNS,
  ladderLines,
  ladderSvg,
  leavingTexts,
  traceHtml,
} from "../report/index.ts";
import { DEFAULT_PEER, parseCount, parseDurationMs, parsePeer } from "./arguments.ts";
import { writeWhole } from "./files.ts";
import { count, duration, INTERRUPTED, interruption, LiveLine, styled } from "./output.ts";

interface Flags {
  readonly natural?: boolean;
  readonly pair?: boolean;
  readonly close?: Closing;
  readonly data?: string;
  readonly attempts: number;
  readonly duration: number;
  readonly write?: string;
  readonly svg?: string;
  readonly html?: string;
  readonly json?: boolean;
}

const ARRIVED = ["self-connect", "simultaneous-open"];

export function traceCommand(): Command {
  return new Command("trace")
    .summary("capture one self-connect: packets, states, ladder, pcapng")
    .description(
      "Makes one self-connect and shows it: every packet with its numbers and options, the TCP state in which it " +
        "leaves and the one it leads to, and why it is there. Capturing needs CAP_NET_RAW; without it the states " +
        "and TCP_INFO are shown.",
    )
    .addArgument(
      new Argument("[peer]", "an address of this host")
        .argParser(parsePeer)
        .default(parsePeer(DEFAULT_PEER), DEFAULT_PEER),
    )
    .option("--natural", "reconnect until the kernel itself picks the port, instead of binding to it")
    .addOption(
      new Option("--pair", "two sockets that open to each other at the same moment").conflicts("natural"),
    )
    .addOption(
      new Option(
        "--close <how>",
        "how to end it, and a table of what each way leaves behind (reset unless given)",
      ).choices(CLOSINGS),
    )
    .option("--data <text>", "bytes to send once connected: they come back to the writer")
    .option("--attempts <count>", "with --natural: at most this many", parseCount, 5_000_000)
    .addOption(
      new Option("--duration <time>", "with --natural: at most this long")
        .argParser(parseDurationMs)
        .default(60_000, "60s"),
    )
    .option("--write <file>", "write the packets as pcapng, with comments, for Wireshark and tshark")
    .option("--svg <file>", "write the ladder as a picture")
    .option("--html <file>", "write picture, packets and pcapng as one HTML file")
    .option("--json", "print one object (docs/schema/trace-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (peer: Address, flags: Flags) => {
      process.exitCode = await run(peer, flags);
    });
}

const EXAMPLES = `Examples:
  selfconnect trace                                    the handshake with itself
  selfconnect trace --data hello --close shutdown      with an echo and the simultaneous close
  selfconnect trace '[::1]:50000' --write self.pcapng  over IPv6, for Wireshark
  selfconnect trace --pair                             two sockets, as in hole punching`;

async function run(peer: Address, flags: Flags): Promise<number> {
  const signal = interruption();
  if (flags.natural) warnIfNever(peer);
  const traced = await made(peer, flags, signal);
  const table = flags.close && !signal.aborted ? await observeLeavings(peer) : null;
  const files = writeFiles(traced, table, flags);
  if (flags.json) console.log(JSON.stringify(report(peer, traced, table, flags), null, 2));
  else tell(traced, table, files, flags);
  return exitCode(traced, files, flags, signal);
}

async function made(peer: Address, flags: Flags, signal: AbortSignal): Promise<Trace> {
  using line = new LiveLine();
  if (flags.natural) line.show(`reconnecting to ${formatAddress(peer)} until joined to itself …`);
  try {
    return await trace({
      peer,
      signal,
      ...(flags.natural && { natural: { attempts: flags.attempts, durationMs: flags.duration } }),
      ...(flags.pair && { pair: true }),
      ...(flags.data !== undefined && { data: new TextEncoder().encode(flags.data) }),
      ...(flags.close && { closing: flags.close }),
    });
  } catch (error) {
    throw withOccupant(error, peer);
  }
}

/** EADDRINUSE alone does not say that an earlier trace's TIME-WAIT is in the way. */
function withOccupant(error: unknown, peer: Address): unknown {
  if (!(error instanceof SocketError) || error.code !== "EADDRINUSE") return error;
  const row = socketTable().find(({ local }) => local.port === peer.port);
  if (!row) return error;
  const left = row.state === "TIME-WAIT" ? ` for another ${duration(row.timerMs)}` : "";
  const mend = "give another port, or end with --close reset, which leaves nothing behind";
  return new Error(`${error.message}: ${formatAddress(row.local)} is in ${row.state}${left}; ${mend}`);
}

function warnIfNever(peer: Address): void {
  const never = whyNever(peer, "fresh", portFacts());
  if (never)
    console.error(`${styled("yellow", "never")}, because ${never.because}. Instead: ${never.instead}.`);
}

/** The files that were asked for, in words. Without packets there is nothing to write but the page that says why. */
function writeFiles(traced: Trace, table: readonly Leaving[] | null, flags: Flags): string[] {
  const files: string[] = [];
  const packets = traced.ladder.rows.length > 0 ? pcapngOf(traced) : null;
  if (flags.write !== undefined && packets) {
    writeFileSync(flags.write, packets);
    files.push(`${flags.write} (pcapng, ${packetsText(traced.frames.length)})`);
  }
  if (flags.svg !== undefined && packets) {
    writeFileSync(flags.svg, ladderSvg(traced.ladder));
    files.push(`${flags.svg} (SVG)`);
  }
  if (flags.html !== undefined) {
    const sent = flags.data ?? null;
    writeWhole(flags.html, traceHtml(traced, { packets, leavings: table, sent, environment: environment() }));
    files.push(`${flags.html} (HTML)`);
  }
  return files;
}

export function pcapngOf({ ladder, frames, capture }: Trace): Uint8Array {
  const { device, filter, passed, lost } = capture!;
  const { kernel, version } = environment();
  const commented = frames.map(({ frame }, index) => {
    const { sent, received, why } = ladder.rows[index]!;
    return { frame, comment: `${sent.after} -> ${received.after}: ${why}` };
  });
  return pcapng(commented, {
    device,
    filter,
    comment: `${ladder.title}. Of the two copies that loopback passes, the outgoing one.`,
    system: `Linux ${kernel}`,
    application: `selfconnect ${version}`,
    counts: { passed, lost },
  });
}

export function tell(
  traced: Trace,
  table: readonly Leaving[] | null,
  files: readonly string[],
  flags: Flags,
): void {
  console.log(`${styled("bold", traced.ladder.title)}${attemptsText(traced)}\n`);
  if (traced.whyNoCapture) console.log(`no packets: ${traced.whyNoCapture}\n`);
  if (traced.ladder.rows.length > 0) console.log(ladderLines(traced.ladder, paint).join("\n"));
  if (!ARRIVED.includes(traced.verdict)) console.log(`not connected: ${traced.verdict}`);
  tellStates(traced);
  if (traced.capture) tellCapture(traced, traced.capture);
  else for (const information of traced.information) console.log(`TCP_INFO  ${informationText(information)}`);
  if (flags.data !== undefined) console.log(echoText(traced, flags.data));
  for (const file of files) console.log(`written   ${file}`);
  if (table) tellLeavings(table);
}

function attemptsText({ isPair, attempts }: Trace): string {
  if (attempts === 1) return "";
  const others = isPair ? ": in the others one SYN came too early and was answered with RST" : "";
  return `, at attempt ${count(attempts)}${others}`;
}

function tellStates({ ladder, samples, agrees }: Trace): void {
  for (const [end, { name, path }] of ladder.ends.entries()) {
    const who = name && `${name}: `;
    if (ladder.rows.length > 0) console.log(`states    ${who}${path.join(" → ")}`);
    const reported = samples.filter((sample) => sample.end === end);
    const seen = reported.map(({ state, source }) => `${state} (${source})`).join(", ");
    console.log(`kernel    ${who}${seen || "was not asked"}`);
  }
  if (agrees === true) console.log("          which agrees");
  if (agrees === false) console.log(styled("red", "          which does NOT agree with the packets"));
}

function tellCapture({ ladder, frames }: Trace, { device, passed, lost }: CaptureSummary): void {
  const missing = lost > 0 ? styled("red", `${packetsText(lost)} LOST: the ladder has gaps`) : "none lost";
  const copy = "the outgoing copy of each, for loopback passes every packet twice";
  console.log(`captured  ${packetsText(frames.length)} on ${device}, ${copy}; ${missing}`);
  const earlier = passed - lost - frames.length - ladder.others.length;
  if (earlier > 0) console.log(`          ${packetsText(earlier)} of the attempts before left out`);
  if (ladder.truncated > 0) console.log(`          ${packetsText(ladder.truncated)} cut short`);
  if (ladder.others.length > 0) {
    console.log(
      `          ${packetsText(ladder.others.length)} left out: ${[...new Set(ladder.others)].join("; ")}`,
    );
  }
}

function echoText({ isPair, received }: Trace, data: string): string {
  const reader = isPair ? "B" : "the same socket";
  const read = new TextDecoder().decode(received);
  return `data      wrote ${JSON.stringify(data)}, ${reader} read ${JSON.stringify(read)}`;
}

function tellLeavings(table: readonly Leaving[]): void {
  const columns = [34, 13, 9, 12];
  const line = (cells: readonly string[]) =>
    `  ${cells.map((cell, i) => cell.padEnd(columns[i] ?? 0)).join("")}`.trimEnd();
  console.log(
    "\nwhat each way to end it leaves behind (each tried on a port of its own), and who can listen meanwhile",
  );
  console.log(line(LEAVING_COLUMNS));
  for (const row of table) console.log(line(leavingTexts(row)));
}

function packetsText(packets: number): string {
  return `${count(packets)} packet${packets === 1 ? "" : "s"}`;
}

const STYLES = {
  time: "dim",
  state: "green",
  flags: ["bold", "cyan"],
  line: "cyan",
  detail: "dim",
  reason: "reset",
} as const;

const paint: Paint = (role, text) => styled(STYLES[role] as Parameters<typeof styled>[0], text);

function exitCode(traced: Trace, files: readonly string[], flags: Flags, signal: AbortSignal): number {
  if (signal.aborted) return INTERRUPTED;
  const asked = [flags.write, flags.svg, flags.html].filter((path) => path !== undefined).length;
  const isDone = ARRIVED.includes(traced.verdict) && traced.agrees !== false && files.length === asked;
  return isDone ? 0 : 1;
}

/** The object of docs/schema/trace-1.json. */
export function report(peer: Address, traced: Trace, table: readonly Leaving[] | null, flags: Flags) {
  const { frames: _, received, ...rest } = traced;
  const text = new TextDecoder().decode(received);
  return {
    schema: "selfconnect.trace/1",
    peer,
    ...rest,
    data: flags.data === undefined ? null : { sent: flags.data, received: text },
    leavings: table,
    environment: environment(),
  };
}
