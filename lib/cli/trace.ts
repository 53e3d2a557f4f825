/** selfconnect trace [peer]: one self-connect, packet by packet. */
import { Argument, Command, Option } from "commander";
import { explainBind } from "../audit/index.ts";
import { writeWhole } from "../audit/whole-file.ts";
import type { Address } from "../index.ts";
import { formatAddress, SocketError } from "../index.ts";
import type { Closing, Trace } from "../packets/index.ts";
import { CLOSINGS, observeLeavings, readTrace, trace } from "../packets/index.ts";
import { situationFor, whyNever } from "../ports/index.ts";
import type { TraceExtras, TraceReport } from "../report/index.ts";
import {
  holderText,
  ladderSvg,
  neverText,
  traceHtml,
  tracePcapng,
  traceReport,
  traceText,
} from "../report/index.ts";
import { pluralize } from "../report/numbers.ts";
import { DEFAULT_PEER, parseCount, parseDurationMs, parsePeer } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { interruption, LiveLine, print, printLines, textOptions } from "./output.ts";
import type { ResultFlags } from "./result-files.ts";
import { addFileOptions, finishResult } from "./result-files.ts";

interface Flags extends ResultFlags {
  readonly natural?: boolean;
  readonly pair?: boolean;
  readonly read?: string;
  readonly close?: Closing;
  readonly data?: string;
  readonly attempts: number;
  readonly duration: number;
  readonly write?: string;
  readonly svg?: string;
}

const ARRIVED = ["self-connect", "simultaneous-open"];

export function traceCommand(): Command {
  const command = new Command("trace")
    .description(
      "Makes one self-connect and prints every packet: its numbers and options, the sender's TCP state, the state " +
        "that it puts the receiver in, and why it was sent. Capturing needs CAP_NET_RAW; without it only the states " +
        "and TCP_INFO are printed.",
    )
    .addArgument(
      new Argument("[peer]", "an address of this host, in any form of dial")
        .argParser(parsePeer)
        .default(parsePeer(DEFAULT_PEER), DEFAULT_PEER),
    )
    .option("--natural", "reconnect until the kernel itself picks the port, instead of binding to it")
    .addOption(new Option("--pair", "open two sockets to each other at the same moment").conflicts("natural"))
    .addOption(
      new Option(
        "--close <how>",
        "close this way (default: reset), and print what each way leaves behind",
      ).choices(CLOSINGS),
    )
    .option("--data <text>", "send these bytes once connected: they come back to the sender")
    .addOption(
      new Option(
        "--read <file>",
        "instead explain the first self-connect or simultaneous open of a capture (pcap, pcapng); - is stdin",
      ).conflicts(["natural", "pair", "close", "data"]),
    )
    .option("--attempts <count>", "with --natural: at most this many", parseCount, 5_000_000)
    .addOption(
      new Option("--duration <time>", "with --natural: at most this long")
        .argParser(parseDurationMs)
        .default(60_000, "60s"),
    )
    .option("--write <file>", "write the packets as pcapng, with comments, for Wireshark and tshark")
    .option("--svg <file>", "write the ladder as a picture")
    .option("--json", "print one object (docs/schema/trace-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (peer: Address, flags: Flags) => {
      process.exitCode = await (flags.read === undefined
        ? runTraceCommand(peer, flags)
        : runRead(flags.read, flags));
    });
  return addFileOptions(command, FILES);
}

const FILES = {
  html: "write picture, packets and pcapng as one HTML file",
  output: "write the object of --json, for report",
  markdown: true,
  csv: true,
} as const;

const EXAMPLES = `Examples:
  selfconnect trace                                    the handshake with itself
  selfconnect trace --data hello --close shutdown      with an echo and the simultaneous close
  selfconnect trace '[::1]:50000' --write self.pcapng  over IPv6, for Wireshark
  selfconnect trace --pair                             two sockets, as in hole punching
  selfconnect trace --read lo.pcap                     what tcpdump or Wireshark captured`;

async function runTraceCommand(peer: Address, flags: Flags): Promise<number> {
  const signal = interruption();
  if (flags.natural) warnIfNever(peer);
  const traced = await runTrace(peer, flags, signal);
  const table = flags.close && !signal.aborted ? await observeLeavings(peer) : null;
  const extras = { sent: flags.data ?? null, leavings: table };
  const files = finishTrace(traceReport(peer, traced, extras), traced, extras, flags);
  if (!flags.json) printLines(files.map((file) => `written   ${file}`));
  return exitCode(traced, files, flags, signal);
}

async function runRead(file: string, flags: Flags): Promise<number> {
  const { trace: traced, found } = await readTrace(file === "-" ? process.stdin : file).catch((error) => {
    throw new Error(`cannot explain ${file}: ${error.message}`, { cause: error });
  });
  const extras = { sent: null, leavings: null };
  const report = traceReport(traced.ladder.ends[0]!.address, traced, extras);
  const files = finishTrace(report, traced, extras, flags);
  if (!flags.json) {
    printLines(files.map((name) => `written   ${name}`));
    if (found > 1) print(`the first of ${found} such connections in the file`);
  }
  return EXIT.done;
}

async function runTrace(peer: Address, flags: Flags, signal: AbortSignal): Promise<Trace> {
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
    throw addOccupant(error, peer);
  }
}

/** Adds to EADDRINUSE the socket that holds the port: often the TIME-WAIT of an earlier trace. */
function addOccupant(error: unknown, peer: Address): unknown {
  if (!(error instanceof SocketError) || error.code !== "EADDRINUSE") return error;
  const holder = explainBind(peer).holders.find(({ isInTheWay }) => isInTheWay);
  if (!holder) return error;
  const advice = "a trace with --close reset leaves nothing behind";
  return new Error(`${error.message}: ${holderText(holder)}; ${advice}`);
}

function warnIfNever(peer: Address): void {
  const never = whyNever(peer, "fresh", situationFor(peer, "fresh"));
  if (never) console.error(neverText(never, textOptions(process.stderr)));
}

/** Prints the trace and writes the files that the flags name. Returns the names of those that writeFiles() wrote. */
function finishTrace(report: TraceReport, traced: Trace, extras: TraceExtras, flags: Flags): string[] {
  const { html: _, ...others } = flags;
  finishResult({ report, text: () => traceText(traced, extras, textOptions()) }, others, null, EXIT.done);
  return writeFiles(traced, extras, flags);
}

/** Without packets only the page, which explains why. */
function writeFiles(traced: Trace, extras: TraceExtras, flags: Flags): string[] {
  const files: string[] = [];
  const packets = tracePcapng(traced);
  if (flags.write !== undefined && packets) {
    writeWhole(flags.write, packets);
    files.push(`${flags.write} (pcapng, ${pluralize(traced.frames.length, "packet")})`);
  }
  if (flags.svg !== undefined && packets) {
    writeWhole(flags.svg, ladderSvg(traced.ladder));
    files.push(`${flags.svg} (SVG)`);
  }
  if (flags.html !== undefined) {
    writeWhole(flags.html, traceHtml(traced, extras));
    files.push(`${flags.html} (HTML)`);
  }
  return files;
}

function exitCode(traced: Trace, files: readonly string[], flags: Flags, signal: AbortSignal): number {
  if (signal.aborted) return EXIT.interrupted;
  const asked = [flags.write, flags.svg, flags.html].filter((path) => path !== undefined).length;
  const isDone = ARRIVED.includes(traced.verdict) && traced.agrees !== false && files.length === asked;
  return isDone ? EXIT.done : EXIT.failed;
}
