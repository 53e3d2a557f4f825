/** A trace as one HTML page: the ladder's picture, every packet with states and reason, and the pcapng to download. */

import { environment } from "../kernel/host.ts";
import type { Ladder, LadderRow, SequenceNumber } from "../packets/ladder.ts";
import type { Leaving } from "../packets/leavings.ts";
import type { Trace } from "../packets/trace.ts";
import { formatAddress } from "../socket/address.ts";
import { escapeMarkup } from "./escape.ts";
import { ladderSvg } from "./ladder-svg.ts";
import {
  crossedText,
  dataText,
  flagsText,
  informationText,
  LEAVING_COLUMNS,
  leavingTexts,
  optionsText,
  timeText,
} from "./ladder-text.ts";
import { count } from "./numbers.ts";
import { pageHtml, tableHtml } from "./page.ts";
import type { TraceExtras } from "./trace.ts";
import { tracePcapng } from "./trace.ts";

/** The style of pictureSection(). */
export const PICTURE_STYLE = `
.picture img { display: block; width: 100%; min-width: 46rem; max-width: 60rem; height: auto; margin: 0 auto; }
.wide-note { display: none; } @media screen and (max-width: 46rem) { .wide-note { display: block; } }
@media print { .picture img { min-width: 0; } }
`;

const STYLE = `${PICTURE_STYLE}
.packets td, .leavings td { min-width: 0; } .packets td.why { min-width: 16rem; }
.packets td.options { min-width: 9rem; }
.packets th .figure { display: block; color: var(--dim); font-size: .92em; } .packets tbody th { min-width: 6rem; }
.whole { font-variant-numeric: tabular-nums; white-space: nowrap; } .changed { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dd { margin: 0; }
dt { color: var(--dim); } .lost { background: var(--wrong); }
.download { display: inline-block; border: 1px solid var(--line); border-radius: 6px; background: var(--soft);
  padding: .4rem .8rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin: 0 0 .4rem; } }
@media print { .packets td.why, .packets td.options,
  .packets tbody th { min-width: 0; }
  .download { display: none; } }
`;

/** A trace as one HTML page: picture, packets, and the pcapng to download. */
export function traceHtml(traced: Trace, extras: TraceExtras): string {
  const { ladder } = traced;
  const title = escapeMarkup(ladder.title);
  const { kernel, version } = environment();
  const packets = tracePcapng(traced);
  const attempts = traced.attempts === 1 ? "" : `, at attempt ${count(traced.attempts)}`;
  const body = `<header><h1>${title}</h1>
<p class="dim">Linux ${escapeMarkup(kernel)}, selfconnect ${escapeMarkup(version)}${attempts}.</p></header>
<main>
${traced.whyNoCapture === null ? "" : `<p>No packets: ${escapeMarkup(traced.whyNoCapture)}</p>`}
${factsSection(traced, extras)}
${ladder.rows.length > 0 ? ladderSections(ladder) : ""}
${packets ? downloadSection(packets, ladder) : ""}
${extras.leavings ? leavingsSection(extras.leavings) : ""}
</main>`;
  return pageHtml({ title: ladder.title, body, style: STYLE });
}

function ladderSections(ladder: Ladder): string {
  return `<section><h2>The ladder</h2>${pictureSection(ladder)}</section>
${packetsSection(ladder)}`;
}

function factsSection(traced: Trace, { sent }: TraceExtras): string {
  const { ladder, samples, capture, received } = traced;
  const facts: [name: string, text: string][] = [["outcome", traced.verdict]];
  for (const [end, { name, address, path }] of ladder.ends.entries()) {
    const of = name && ` of ${name}, ${formatAddress(address)}`;
    if (ladder.rows.length > 0) facts.push([`states${of}`, path.join(" → ")]);
    const seen = samples.filter((sample) => sample.end === end);
    const reported = seen.map(({ state, source }) => `${state} (${source})`).join(", ");
    facts.push([`reported by the kernel${name && ` for ${name}`}`, reported || "not observed"]);
  }
  if (traced.agrees !== null) facts.push(["packets and kernel agree", traced.agrees ? "yes" : "NO"]);
  for (const information of traced.information) facts.push(["TCP_INFO", informationText(information)]);
  if (capture) facts.push(["captured", capturedText(traced)]);
  if (sent !== null) facts.push(["data", `wrote "${sent}", read "${new TextDecoder().decode(received)}"`]);
  const isWrong = (name: string) =>
    (name === "captured" && capture!.lost > 0) || (name === "packets and kernel agree" && !traced.agrees);
  const lines = facts.map(
    ([name, text]) =>
      `<dt>${escapeMarkup(name)}</dt><dd${isWrong(name) ? ' class="lost"' : ""}>${escapeMarkup(text)}</dd>`,
  );
  return `<section><h2>What happened</h2><dl>${lines.join("\n")}</dl></section>`;
}

function capturedText({ ladder, frames, capture }: Trace): string {
  const { device, filter, lost, keptCopy } = capture!;
  const parts = [
    keptCopy === "all"
      ? `${frames.length} packets from ${device}`
      : `${frames.length} packets on ${device}, filter "${filter}", only the outgoing copies`,
    keptCopy !== "all" && (lost > 0 ? `${lost} LOST: the ladder has gaps` : "none lost"),
    ladder.truncated > 0 && `${ladder.truncated} cut short`,
    ladder.others.length > 0 && `${ladder.others.length} left out: ${[...new Set(ladder.others)].join("; ")}`,
  ];
  return parts.filter((part) => typeof part === "string").join("; ");
}

/** The ladder as an image, so that its style does not affect the page. The table below has the same content. */
export function pictureSection(ladder: Ladder): string {
  const image = `data:image/svg+xml;base64,${Buffer.from(ladderSvg(ladder)).toString("base64")}`;
  const words = `The ladder of ${ladder.rows.length} packets, which are listed one by one below`;
  return `<p class="dim wide-note">The picture is wider than this screen: scroll it sideways.</p>
<div class="scroll picture" tabindex="0" role="region" aria-label="The ladder">
<img src="${image}" alt="${escapeMarkup(words)}"></div>`;
}

/** The packets as a list: flags, states, and why each was sent. */
export function stepsHtml({ rows }: Ladder): string {
  const items = rows.map((row) => {
    const states = `<span class="states">${stepText(row.sent, row.received)}</span>`;
    const data = row.dataBytes > 0 ? ` ${dataText(row, 28)}` : "";
    const why = escapeMarkup(crossedText(row) + row.why);
    return `<li><b>${escapeMarkup(flagsText(row.flags) + data)}</b> ${why}${states}</li>`;
  });
  return `<ol class="steps">${items.join("\n")}</ol>`;
}

function stepText(sent: LadderRow["sent"], received: LadderRow["received"]): string {
  const change = ({ before, after }: LadderRow["sent"]) =>
    before === after ? after : `${before} → ${after}`;
  return escapeMarkup(`sent: ${change(sent)}; received: ${change(received)}`);
}

function packetsSection(ladder: Ladder): string {
  const isPair = ladder.ends.length > 1;
  const heads = ["packet", "time", "sender", "receiver", "why", "seq", "ack", "window", "options"];
  const cells = heads.map((head) => `<th scope="col">${head}</th>`);
  return `<section><h2 id="packets">Packet by packet</h2>
<p class="dim">Numbers are relative, in brackets absolute. Sections and figures refer to RFC 9293.</p>
<div class="scroll packets" tabindex="0" role="region" aria-labelledby="packets">
<table id="every-packet"><thead><tr>${cells.join("")}</tr></thead>
<tbody>
${ladder.rows.map((row) => packetRow(row, isPair ? ladder.ends : null)).join("\n")}
</tbody></table></div></section>`;
}

function packetRow(row: LadderRow, ends: Ladder["ends"] | null): string {
  const { sequence, acknowledgement } = row;
  const way = ends ? `${ends[row.from]!.name} → ${ends[row.to]!.name}` : "";
  const data = row.dataBytes > 0 ? `<span class="figure">${escapeMarkup(dataText(row, 64))}</span>` : "";
  const cells = [
    `<th scope="row"><b>${row.number}. ${escapeMarkup(flagsText(row.flags))}</b>${escapeMarkup(way)}${data}</th>`,
    `<td class="whole">${escapeMarkup(timeText(row.timeNs))}</td>`,
    `<td>${stateHtml(row.sent)}</td>`,
    `<td>${stateHtml(row.received)}</td>`,
    `<td class="why">${escapeMarkup(crossedText(row) + row.why)}</td>`,
    `<td>${numberHtml(sequence)}</td>`,
    `<td>${acknowledgement ? numberHtml(acknowledgement) : ""}</td>`,
    `<td class="whole">${row.window}</td>`,
    `<td class="options">${escapeMarkup(optionsText(row.options).replaceAll("\u00a0", " "))}</td>`,
  ];
  return `<tr>${cells.join("")}</tr>`;
}

function numberHtml({ relative, absolute }: SequenceNumber): string {
  return `<span class="whole">${relative}<span class="figure">(${absolute})</span></span>`;
}

/** Lines break between two states, not within the name of one. */
function stateHtml({ before, after }: LadderRow["sent"]): string {
  const whole = (text: string, kind: string) => `<span class="${kind}">${escapeMarkup(text)}</span>`;
  if (before === after) return whole(after, "whole");
  return `${whole(`${before} →`, "whole")} ${whole(after, "whole changed")}`;
}

function downloadSection(packets: Uint8Array, ladder: Ladder): string {
  const link = `data:application/octet-stream;base64,${Buffer.from(packets).toString("base64")}`;
  return `<section><h2>For Wireshark</h2>
<p><a class="download" download="selfconnect.pcapng" href="${link}">selfconnect.pcapng</a>
${ladder.rows.length} packets, ${count(packets.length)} bytes,
with states and reasons as comments. The file is embedded in this page.</p></section>`;
}

function leavingsSection(leavings: readonly Leaving[]): string {
  return `<section><h2 id="leavings">What each way to close leaves behind</h2>
<p class="dim">Each way was tried on a new port. The last columns show who can listen on it meanwhile.</p>
<div class="scroll leavings" tabindex="0" role="region" aria-labelledby="leavings">
${tableHtml(LEAVING_COLUMNS, leavings.map(leavingTexts))}</div></section>`;
}
