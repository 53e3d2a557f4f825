/** A benchmark's report for a terminal. */
import type { BenchReport, BenchRow } from "./bench.ts";
import {
  BENCH_CELL_COLUMNS,
  BENCH_TRIALS,
  benchBound,
  benchCellsByTrial,
  benchCellTexts,
  benchFigure,
  benchHeading,
} from "./bench.ts";
import type { Line, Piece, TextOptions } from "./terminal.ts";
import { indent, paint, renderText, tableLines } from "./terminal.ts";

const STYLES = {
  reached: "green",
  missed: "red",
  disagree: "yellow",
  skipped: "yellow",
  reported: "dim",
} as const;

/** A benchmark for a terminal. */
export function benchText(report: BenchReport, options: TextOptions = {}): string {
  const rows = tableLines(
    [["what", "ratio (95 % interval)", "bound"], ...report.rows.map(rowPieces)],
    "lrll",
  );
  const lines: Line[] = [benchHeading(report), ...indent(" ", rows)];
  for (const [trial, cells] of benchCellsByTrial(report)) {
    const table = tableLines([BENCH_CELL_COLUMNS, ...cells.map(benchCellTexts)], "lrrrrrl");
    lines.push("", [paint("bold", BENCH_TRIALS[trial])], ...indent(" ", table));
  }
  for (const { name, because } of report.skipped) {
    lines.push([paint("yellow", "skipped"), ` ${name}: ${because}`]);
  }
  if (report.isInterrupted) lines.push([paint("yellow", "interrupted: these are the rounds so far")]);
  return renderText(lines, options);
}

function rowPieces(row: BenchRow): Piece[] {
  const because = row.value === null || !row.because ? "" : ` (${row.because})`;
  const verdict = row.verdict === "reported" ? because : paint(STYLES[row.verdict], row.verdict + because);
  return [row.what, benchFigure(row), benchBound(row), verdict];
}
