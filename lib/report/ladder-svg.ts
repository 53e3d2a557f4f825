/** Renders the ladder as SVG in the reader's light or dark colour scheme. A pure function of the ladder. */

import type { Ladder, LadderRow } from "../packets/ladder.ts";
import { formatAddress } from "../socket/address.ts";
import { escapeMarkup } from "./escape.ts";
import {
  crossedText,
  dataText,
  flagsText,
  numbersText,
  optionsText,
  timeText,
  wrapText,
} from "./ladder-text.ts";

const WIDTH = 960;
const MARGIN = 24;
const LEFT_RAIL = 262;
const RIGHT_RAIL = WIDTH - 160;
const TOP = 112;
const ROW_GAP = 26;
const LINE = 17;
/** How far an arrow falls from sender to receiver. A crossing arrow ends below the start of the one that it crosses. */
const FALL = 10;
const CROSSING_FALL = 18;
const CHARACTERS = Math.floor((RIGHT_RAIL - LEFT_RAIL - 32) / 7.25);

interface Palette {
  readonly ink: string;
  readonly soft: string;
  readonly line: string;
  readonly state: string;
  readonly rail: string;
  readonly paper: string;
}

const LIGHT: Palette = {
  ink: "#1f2328",
  soft: "#59636e",
  line: "#0969da",
  state: "#1a7f37",
  rail: "#afb8c1",
  paper: "#ffffff",
};
const DARK: Palette = {
  ink: "#e6edf3",
  soft: "#9198a1",
  line: "#58a6ff",
  state: "#56d364",
  rail: "#57606a",
  paper: "#0d1117",
};

/** Written out for each scheme, because not every SVG viewer supports custom properties. */
function colours({ ink, soft, line, state, rail, paper }: Palette): string {
  return `
  text { fill: ${ink}; }
  .soft { fill: ${soft}; }
  .state { fill: ${state}; }
  .flags, .head { fill: ${line}; }
  .arrow { stroke: ${line}; }
  .rail { stroke: ${rail}; }
  .paper { fill: ${paper}; }
  .detail, .flags { stroke: ${paper}; }`;
}

const STYLE = `
  text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
  .title { font-size: 16px; font-weight: 600; }
  .state { font-weight: 600; }
  .flags { font-weight: 700; font-size: 13px; }
  .detail, .flags { stroke-width: 5px; stroke-linejoin: round; paint-order: stroke; }
  .rail { stroke-width: 2; }
  .arrow { stroke-width: 1.6; fill: none; }${colours(LIGHT)}
  @media (prefers-color-scheme: dark) {${colours(DARK)}
  }`;

/** The ladder as an SVG picture. */
export function ladderSvg(ladder: Ladder): string {
  const heights = ladder.rows.map(rowHeight);
  const bottom = TOP + heights.reduce((total, height) => total + height, 0);
  const height = bottom + MARGIN;
  let y = TOP;
  const rows = ladder.rows.map((row, index) => {
    const drawn = drawRow(row, y, ladder.ends.length > 1);
    y += heights[index]!;
    return drawn;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${escapeMarkup(ladder.title)}</title>`,
    `<desc id="description">${escapeMarkup(description(ladder))}</desc>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="paper" width="${WIDTH}" height="${height}" rx="8"/>`,
    text(MARGIN, 36, ladder.title, "title"),
    text(MARGIN, 58, subtitle(ladder), "soft"),
    drawHeads(ladder),
    rail(LEFT_RAIL, bottom - ROW_GAP / 2),
    rail(RIGHT_RAIL, bottom - ROW_GAP / 2),
    ...rows,
    "</svg>",
    "",
  ].join("\n");
}

function subtitle({ ends, rows }: Ladder): string {
  const who = ends.length > 1 ? "two sockets" : "one socket, drawn twice: as sender and as receiver";
  return `${who} · ${rows.length} packets · seq and ack relative (absolute)`;
}

/** Describes the picture for readers who cannot see it. */
function description({ ends, rows }: Ladder): string {
  const packets = rows.map((row) => {
    const moved = row.received.before === row.received.after ? "" : `, received: ${row.received.after}`;
    return `${row.number}. ${flagsText(row.flags)} sent in ${row.sent.after}${moved}.`;
  });
  const paths = ends.map(({ name, path }) => `States${name && ` of ${name}`}: ${path.join(", ")}.`);
  return [...packets, ...paths].join(" ");
}

function drawHeads({ ends }: Ladder): string {
  const [one, other] = ends.map(({ name, address }) => `${name && `${name} `}${formatAddress(address)}`);
  return [
    text(LEFT_RAIL, TOP - 24, other ? one! : `${one} sends`, "soft", "middle"),
    text(RIGHT_RAIL, TOP - 24, other ?? `${one} receives`, "soft", "middle"),
  ].join("\n");
}

function rail(x: number, bottom: number): string {
  return `<line class="rail" x1="${x}" y1="${TOP - 14}" x2="${x}" y2="${bottom}"/>`;
}

function drawRow(row: LadderRow, y: number, isPair: boolean): string {
  const isBack = isPair && row.from === 1;
  const fall = row.crossed > 0 ? rowHeight(row) + CROSSING_FALL : FALL;
  const [start, finish] = isBack ? [RIGHT_RAIL, LEFT_RAIL] : [LEFT_RAIL, RIGHT_RAIL];
  const startY = y + LINE;
  const label = `${flagsText(row.flags)}${row.dataBytes > 0 ? ` ${dataText(row, 28)}` : ""}`;
  const labels = [text((LEFT_RAIL + RIGHT_RAIL) / 2, y + 10, label, "flags", "middle")];
  for (const [index, line] of detailLines(row).entries()) {
    labels.push(text(LEFT_RAIL + 16, startY + FALL + LINE * (index + 1), line, "soft detail"));
  }
  return [
    `<g><title>${escapeMarkup(`${row.number}. ${row.why}`)}</title>`,
    text(MARGIN, startY + 4, timeText(row.timeNs), "soft"),
    arrow(start, startY, finish, startY + fall),
    stateText(isBack, row.sent, startY + 4),
    stateText(!isBack, row.received, startY + fall + 4),
    ...labels,
    "</g>",
  ].join("\n");
}

/** Writes a state beside its rail, bold if the packet changed it. */
function stateText(isRight: boolean, state: LadderRow["sent"], y: number): string {
  const kind = state.before === state.after ? "soft" : "state";
  return isRight
    ? text(RIGHT_RAIL + 12, y, state.after, kind)
    : text(LEFT_RAIL - 12, y, state.after, kind, "end");
}

function arrow(x1: number, y1: number, x2: number, y2: number): string {
  const side = x2 > x1 ? -1 : 1;
  const slope = (y2 - y1) / Math.abs(x2 - x1);
  const back = x2 + side * 10;
  const level = y2 - 10 * slope;
  return [
    `<line class="arrow" x1="${x1}" y1="${y1}" x2="${back}" y2="${level}"/>`,
    `<path class="head" d="M${x2} ${y2} L${back} ${level - 5} L${back} ${level + 5} Z"/>`,
  ].join("\n");
}

function detailLines(row: LadderRow): string[] {
  return [
    numbersText(row),
    ...wrapText(optionsText(row.options), CHARACTERS),
    ...wrapText(crossedText(row) + row.why, CHARACTERS),
  ];
}

function rowHeight(row: LadderRow): number {
  return LINE + FALL + LINE * detailLines(row).length + ROW_GAP;
}

function text(x: number, y: number, content: string, kind: string, anchor = "start"): string {
  const at = anchor === "start" ? "" : ` text-anchor="${anchor}"`;
  return `<text class="${kind}" x="${x}" y="${y}"${at}>${escapeMarkup(content)}</text>`;
}
