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
    return `<h2>${escaped(BENCH_TRIALS[trial])}</h2>
${plot(plotted, unit)}
${table([...BENCH_CELL_COLUMNS], cells.map(benchCellTexts))}`;
  });
  const skipped = report.skipped.map(({ name, because }) => `<li>${escaped(`${name}: ${because}`)}</li>`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>selfconnect bench</title>
<style>${STYLE}</style>
<h1>selfconnect bench</h1>
<p>${escaped(benchHeading(report))}
${table(["what", "figure (95 % interval)", "to reach", "verdict"], rows)}
${trials.join("\n")}
${skipped.length > 0 ? `<h2>skipped</h2><ul>${skipped.join("")}</ul>` : ""}
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.4 system-ui, sans-serif; max-width: ${WIDTH + 40}px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2em .8em .2em 0; border-bottom: 1px solid #8884; }
svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
.rule { stroke: #8884; }
.round { fill: #8888; }
.median { fill: #06c; }
.ours { fill: #d30; }
`;

/** One line for each cell on a logarithmic axis: a dot for each round, a larger one for their median. */
function plot(cells: readonly BenchCell[], unit: string): string {
  if (cells.length === 0) return "";
  const [low, high] = decades(cells.flatMap((cell) => cell.rounds));
  const x = (value: number) =>
    LABEL_WIDTH + ((Math.log10(value) - low) / (high - low)) * (WIDTH - LABEL_WIDTH - 20);
  const height = cells.length * ROW_HEIGHT + AXIS_HEIGHT;
  const axis = Array.from({ length: high - low + 1 }, (_, i) => {
    const value = 10 ** (low + i);
    const at = x(value).toFixed(1);
    const text = `<text x="${at}" y="${height - 8}" text-anchor="middle">${value.toLocaleString("en-US")}</text>`;
    return `<line class="rule" x1="${at}" x2="${at}" y1="0" y2="${height - AXIS_HEIGHT}"/>${text}`;
  });
  const lines = cells.map((cell, i) => line(cell, (i + 0.5) * ROW_HEIGHT, x));
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(unit)}, logarithmic">
${axis.join("\n")}
${lines.join("\n")}
<text x="0" y="${height - 8}">${escaped(unit)}</text>
</svg>`;
}

function line(cell: BenchCell, y: number, x: (value: number) => number): string {
  const isOurs = /^(selfconnect|TcpSocket|[\d,]+ sockets)/.test(cell.name);
  const dots = cell.rounds.map(
    (round) => `<circle class="round" cx="${x(round).toFixed(1)}" cy="${y}" r="3"/>`,
  );
  const at = x(cell.summary.median).toFixed(1);
  const median = `<circle class="${isOurs ? "ours" : "median"}" cx="${at}" cy="${y}" r="5"/>`;
  return `<text x="0" y="${y + 4}">${escaped(cell.name)}</text>${dots.join("")}${median}`;
}

/** The powers of ten around all values. */
function decades(values: readonly number[]): [low: number, high: number] {
  const low = Math.floor(Math.log10(Math.min(...values)));
  return [low, Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))];
}

function table(head: readonly string[], rows: readonly string[][]): string {
  const cells = (tag: string, texts: readonly string[]) =>
    `<tr>${texts.map((text) => `<${tag}>${escaped(text)}</${tag}>`).join("")}</tr>`;
  return `<table>${cells("th", head)}${rows.map((row) => cells("td", row)).join("\n")}</table>`;
}

function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
