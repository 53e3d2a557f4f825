/** A benchmark's report as one HTML page without external resources: a plot of every round, and the tables. */
import type { BenchCell, BenchReport } from "./bench.ts";
import {
  BENCH_CELL_COLUMNS,
  BENCH_TRIALS,
  BENCH_UNITS,
  benchBound,
  benchCellsByTrial,
  benchCellTexts,
  benchFigure,
  benchHeading,
} from "./bench.ts";
import { escapeMarkup } from "./escape.ts";
import { pageHtml, scrollableTable } from "./page.ts";
import type { RoundsLine } from "./plot-svg.ts";
import { roundsSvg } from "./plot-svg.ts";

/** A benchmark as one HTML page: every round in a plot, and the tables. */
export function benchHtml(report: BenchReport): string {
  const rows = report.rows.map((row) => {
    const because = row.value !== null && row.because ? `: ${row.because}` : "";
    return [
      row.what,
      benchFigure(row),
      benchBound(row),
      row.verdict === "reported" ? "" : row.verdict + because,
    ];
  });
  const trials = benchCellsByTrial(report).map(([trial, cells]) => {
    const plotted = cells.filter((cell) => cell.rounds.every((round) => round > 0));
    const unit = BENCH_UNITS[trial] ?? "per second";
    return `<section><h2>${escapeMarkup(BENCH_TRIALS[trial])}</h2>
<p class="dim">A small dot is one round, a large one the median of all; those of selfconnect are orange.</p>
${roundsSvg(plotted.map(lineOf), unit)}
${scrollableTable(BENCH_TRIALS[trial], [...BENCH_CELL_COLUMNS], cells.map(benchCellTexts))}</section>`;
  });
  const skipped = report.skipped.map(
    ({ name, because }) => `<li>${escapeMarkup(`${name}: ${because}`)}</li>`,
  );
  const body = `<header><h1>selfconnect bench</h1>
<p>${escapeMarkup(benchHeading(report))}</p></header>
<main>
${scrollableTable("Bounds", ["what", "figure (95 % interval)", "bound", "verdict"], rows)}
${trials.join("\n")}
${skipped.length > 0 ? `<section><h2>Skipped</h2><ul>${skipped.join("")}</ul></section>` : ""}
</main>`;
  return pageHtml({ title: "selfconnect bench", body, style: STYLE });
}

const STYLE = `
.rounds { display: block; width: 100%; max-width: 640px; height: auto; margin: .5rem 0; }
.rounds text { font: 12px system-ui, sans-serif; } .rounds text.name { fill: currentColor; }
.rule { stroke: var(--line); }
.round { fill: var(--dim); fill-opacity: .5; }
.median { fill: var(--accent); }
.ours { fill: #d9480f; }
`;

function lineOf({ name, rounds, summary }: BenchCell): RoundsLine {
  const isOurs = /^(selfconnect|TcpSocket|[\d,]+ sockets)/.test(name);
  return { name, values: rounds, median: summary.median, isOurs };
}
