/** A benchmark's report as one HTML page with nothing to fetch: a plot of every round, and the tables. */
import type { BenchCell, BenchReport } from "./bench.ts";
import {
  BENCH_CELL_COLUMNS,
  BENCH_TRIALS,
  benchBound,
  benchCellsByTrial,
  benchCellTexts,
  benchFigure,
  benchHeading,
} from "./bench.ts";
import { escapeMarkup } from "./escape.ts";
import { pageHtml, scrolledTable } from "./page.ts";

const WIDTH = 900;
const LABEL_WIDTH = 260;
const ROW_HEIGHT = 24;
const AXIS_HEIGHT = 30;

export function benchHtml(report: BenchReport): string {
  const rows = report.rows.map((row) => {
    const because = row.value !== null && row.because ? `: ${row.because}` : "";
    return [row.what, benchFigure(row), benchBound(row), row.verdict === "told" ? "" : row.verdict + because];
  });
  const trials = benchCellsByTrial(report).map(([trial, cells]) => {
    const plotted = cells.filter((cell) => cell.rounds.every((round) => round > 0));
    const unit = trial === "time" ? "milliseconds" : "per second";
    return `<section><h2>${escapeMarkup(BENCH_TRIALS[trial])}</h2>
${plot(plotted, unit)}
${scrolledTable(BENCH_TRIALS[trial], [...BENCH_CELL_COLUMNS], cells.map(benchCellTexts))}</section>`;
  });
  const skipped = report.skipped.map(
    ({ name, because }) => `<li>${escapeMarkup(`${name}: ${because}`)}</li>`,
  );
  const body = `<header><h1>selfconnect bench</h1>
<p>${escapeMarkup(benchHeading(report))}</p></header>
<main>
${scrolledTable("What is to be reached", ["what", "figure (95 % interval)", "to reach", "verdict"], rows)}
${trials.join("\n")}
${skipped.length > 0 ? `<section><h2>Skipped</h2><ul>${skipped.join("")}</ul></section>` : ""}
</main>`;
  return pageHtml({ title: "selfconnect bench", body, style: STYLE });
}

const STYLE = `
.rounds { width: 100%; max-width: ${WIDTH}px; height: auto; }
.rounds text { font: 12px system-ui, sans-serif; fill: currentColor; }
.rule { stroke: var(--line); }
.round { fill: var(--dim); fill-opacity: .5; }
.median { fill: var(--accent); }
.ours { fill: #d9480f; }
`;

/** One line for each cell on a logarithmic axis: a dot for each round, a larger one for their median. */
function plot(cells: readonly BenchCell[], unit: string): string {
  if (cells.length === 0) return "";
  const [low, high] = decades(cells.flatMap((cell) => cell.rounds));
  const x = (value: number) =>
    LABEL_WIDTH + ((Math.log10(value) - low) / (high - low)) * (WIDTH - LABEL_WIDTH - 40);
  const height = cells.length * ROW_HEIGHT + AXIS_HEIGHT;
  const axis = Array.from({ length: high - low + 1 }, (_, i) => {
    const value = 10 ** (low + i);
    const at = x(value).toFixed(1);
    const text = `<text x="${at}" y="${height - 8}" text-anchor="middle">${value.toLocaleString("en-US")}</text>`;
    return `<line class="rule" x1="${at}" x2="${at}" y1="0" y2="${height - AXIS_HEIGHT}"/>${text}`;
  });
  const lines = cells.map((cell, i) => line(cell, (i + 0.5) * ROW_HEIGHT, x));
  return `<svg class="rounds" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeMarkup(unit)}, logarithmic">
${axis.join("\n")}
${lines.join("\n")}
<text x="0" y="${height - 8}">${escapeMarkup(unit)}</text>
</svg>`;
}

function line(cell: BenchCell, y: number, x: (value: number) => number): string {
  const isOurs = /^(selfconnect|TcpSocket|[\d,]+ sockets)/.test(cell.name);
  const dots = cell.rounds.map(
    (round) => `<circle class="round" cx="${x(round).toFixed(1)}" cy="${y}" r="3"/>`,
  );
  const at = x(cell.summary.median).toFixed(1);
  const median = `<circle class="${isOurs ? "ours" : "median"}" cx="${at}" cy="${y}" r="5"/>`;
  return `<text x="0" y="${y + 4}">${escapeMarkup(cell.name)}</text>${dots.join("")}${median}`;
}

/** The powers of ten around all values. */
function decades(values: readonly number[]): [low: number, high: number] {
  const low = Math.floor(Math.log10(Math.min(...values)));
  return [low, Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))];
}
