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

/** A benchmark as Markdown: one table of rows, and one of cells for each trial. */
export function benchMarkdown(report: BenchReport): string {
  const rows = report.rows.map((row) => {
    const because = row.value !== null && row.because ? `: ${row.because}` : "";
    return [row.what, benchFigure(row), benchBound(row), row.verdict === "told" ? "" : row.verdict + because];
  });
  const cells = benchCellsByTrial(report).flatMap(([trial, of]) => [
    `\n## ${BENCH_TRIALS[trial]}\n`,
    ...table([...BENCH_CELL_COLUMNS], of.map(benchCellTexts)),
  ]);
  const skipped = report.skipped.map(({ name, because }) => `- skipped ${name}: ${because}`);
  const lines = [
    benchHeading(report),
    "",
    ...table(["what", "figure (95 % interval)", "to reach", "verdict"], rows),
    ...cells,
    ...(skipped.length > 0 ? ["", ...skipped] : []),
  ];
  return `${lines.join("\n")}\n`;
}

function table(head: readonly string[], rows: readonly string[][]): string[] {
  const line = (texts: readonly string[]) =>
    `| ${texts.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)];
}
