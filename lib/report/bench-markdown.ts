/** A benchmark's report as Markdown. */
import type { BenchReport } from "./bench.ts";
import {
  BENCH_CELL_COLUMNS,
  BENCH_TRIALS,
  benchBound,
  benchCellsByTrial,
  benchCellTexts,
  benchFigure,
  benchHeading,
} from "./bench.ts";
import { escapeMarkdown } from "./escape.ts";
import { markdownTable } from "./markdown.ts";

/** A benchmark as Markdown tables. */
export function benchMarkdown(report: BenchReport): string {
  const rows = report.rows.map((row) => {
    const because = row.value !== null && row.because ? `: ${row.because}` : "";
    return [
      row.what,
      benchFigure(row),
      benchBound(row),
      row.verdict === "reported" ? "" : row.verdict + because,
    ];
  });
  const cells = benchCellsByTrial(report).flatMap(([trial, of]) => [
    `\n## ${BENCH_TRIALS[trial]}\n`,
    ...markdownTable([...BENCH_CELL_COLUMNS], of.map(benchCellTexts)),
  ]);
  const skipped = report.skipped.map(
    ({ name, because }) => `- skipped ${escapeMarkdown(`${name}: ${because}`)}`,
  );
  const lines = [
    benchHeading(report),
    "",
    ...markdownTable(["what", "figure (95 % interval)", "bound", "verdict"], rows),
    ...cells,
    ...(skipped.length > 0 ? ["", ...skipped] : []),
  ];
  return `${lines.join("\n")}\n`;
}
