/** How the hosts of a capture pick local ports, as the object of docs/schema/ports-read-1.json, as text and HTML. */
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import type { PeerPorts, PortsReading, SourcePorts } from "../ports/read.ts";
import type { FingerprintVerdict } from "../ports/verdict.ts";
import { formatAddress } from "../socket/address.ts";
import { escapeMarkup } from "./escape.ts";
import { count, pluralize } from "./numbers.ts";
import { figureHtml, pageHtml, SCRIPT, scrollableTable } from "./page.ts";
import { plotSvg } from "./plot-svg.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, paint, renderText } from "./terminal.ts";

/** The object of docs/schema/ports-read-1.json. */
export interface PortsReadReport extends Omit<PortsReading, "sources"> {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.ports-read/1";
  /** The file that was read; "-" is standard input. */
  readonly file: string;
  /** The hosts whose SYNs are in the file. */
  readonly sources: readonly Omit<SourcePorts, "picks">[];
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

/** Text and pages list so many hosts; the object has all. */
const MOST_LISTED = 100;
const MOST_PLOTS = 12;
const MOST_DOTS = 3000;

/** Builds the object of docs/schema/ports-read-1.json. */
export function portsReadReport(file: string, reading: PortsReading): PortsReadReport {
  const sources = reading.sources.map(({ picks: _, ...source }) => source);
  return { schema: "selfconnect.ports-read/1", file, ...reading, sources, environment: environment() };
}

/** The verdicts for a terminal, host by host. */
export function portsReadText(file: string, reading: PortsReading, options: TextOptions = {}): string {
  const lines: Line[] = [`${file}: ${summaryText(reading)}`, ""];
  for (const source of reading.sources.slice(0, MOST_LISTED)) lines.push(...sourceLines(source), "");
  lines.push(...noteLines(reading));
  return renderText(lines, options);
}

/** The verdicts as one HTML page: a table, and the ports of the busiest hosts as plots. */
export function portsReadHtml(file: string, reading: PortsReading): string {
  const listed = reading.sources.slice(0, MOST_LISTED);
  const rows = listed.map((source) => [
    nameOf(source),
    verdictText(source.verdict),
    count(source.syns),
    count(source.peerCount),
    `${source.low}-${source.high}`,
    source.peers.map(peerText).join("; "),
  ]);
  const head = ["host", "verdict", "SYNs", "peers", "ports", "busiest peers"];
  const plots = listed.slice(0, MOST_PLOTS).map((source) => {
    const walk = {
      plot: "walk",
      unit: "port",
      values: Array.from(source.picks.ports.subarray(0, MOST_DOTS)),
    } as const;
    const shown = Math.min(MOST_DOTS, source.syns);
    const part = shown < source.syns ? `, the first ${count(shown)} of ${count(source.syns)} SYNs` : "";
    const caption = `${nameOf(source)}${part}`;
    return figureHtml(caption, plotSvg(walk, caption, [walk]));
  });
  const notes = noteLines(reading).map((line) => `<p class="dim">${escapeMarkup(String(line))}</p>`);
  const body = `<header><h1>Local ports in ${escapeMarkup(file)}</h1>
<p>${escapeMarkup(summaryText(reading))}</p></header>
<main>
${scrollableTable("Hosts", head, rows)}
${notes.join("\n")}
<section><h2>The ports in order</h2><div class="plots">${plots.join("\n")}</div></section>
</main>`;
  return pageHtml({ title: `Local ports in ${file}`, body, script: SCRIPT });
}

function summaryText({ format, packets, syns, repeats, sources }: PortsReading): string {
  if (format === "list") return `a list of ${pluralize(syns, "port")}`;
  const again = repeats > 0 ? ` (and ${count(repeats)} sent again)` : "";
  return `${pluralize(packets, "packet")}, ${pluralize(syns, "SYN")}${again} of ${pluralize(sources.length, "host")}`;
}

function nameOf({ host }: SourcePorts): string {
  return host ?? "the host of this list";
}

function sourceLines(source: SourcePorts): Line[] {
  const { syns, peerCount, low, high, verdict, dependsOnPeer, selfConnects } = source;
  const peers = source.host === null ? "" : ` to ${pluralize(peerCount, "peer")}`;
  const unit = source.host === null ? "port" : "SYN";
  const details: Line[] = [
    [paint("bold", verdict.reason === null ? verdict.name : "no verdict"), tail(verdict)],
  ];
  if (verdict.kernels) details.push(`as in ${verdict.kernels}`);
  if (verdict.resembles) details.push(`resembles ${verdict.resembles}`);
  if (verdict.runnerUp && verdict.reason === null)
    details.push(`10^${count(verdict.runnerUp.oddsLog10)} times as likely as ${verdict.runnerUp.name}`);
  if (dependsOnPeer !== null && peerCount > 1)
    details.push(dependsOnPeer ? "each peer has a walk of its own" : "the peers share one sequence");
  if (selfConnects > 0)
    details.push(`${pluralize(selfConnects, "SYN")} of an address to itself: a self-connect`);
  details.push(...source.peers.filter((peer) => peer.verdict).map(peerText));
  return [
    [paint("bold", nameOf(source)), `  ${pluralize(syns, unit)}${peers}, ports ${low}-${high}`],
    ...indent("  ", details),
  ];
}

function tail({ family, reason }: FingerprintVerdict): string {
  return `: ${reason ?? family}`;
}

function verdictText(verdict: FingerprintVerdict): string {
  return `${verdict.reason === null ? verdict.name : "no verdict"}${tail(verdict)}`;
}

function peerText({ address, syns, verdict }: PeerPorts): string {
  const name = address ? formatAddress(address) : "one peer";
  return `${name}: ${count(syns)}${verdict ? `, ${verdictText(verdict)}` : ""}`;
}

function noteLines({ sources, leftOut, cutBytes, needed }: PortsReading): string[] {
  const notes: string[] = [];
  if (sources.length > MOST_LISTED)
    notes.push(`${count(sources.length - MOST_LISTED)} more hosts: see --json`);
  if (leftOut > 0) notes.push(`${pluralize(leftOut, "SYN")} left out: there are too many`);
  if (cutBytes > 0) notes.push("the file was cut off: it ends within a packet");
  if (sources.some(({ verdict }) => verdict.reason !== null)) {
    notes.push(
      `A verdict needs ${count(needed.walk)} SYNs of one host that follow another one to the same peer within 3 s,`,
      `${count(needed.independent)} where ports are independent; to name a counter, to several peers in turn.`,
    );
  }
  return notes;
}
