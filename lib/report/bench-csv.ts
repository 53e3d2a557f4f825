/** Bench results as CSV (RFC 4180): one line for each cell in each round, for plots and statistics of one's own. */
import type { BenchReport } from "./bench.ts";
import { escapeCsv } from "./escape.ts";

/** The figure of each cell in each round: a rate per second, or in the unit of BENCH_UNITS. */
export function benchCsv(report: BenchReport): string {
  const lines = report.cells.flatMap(({ trial, name, rounds }) =>
    rounds.map((figure, round) => [trial, name, String(round + 1), String(figure)]),
  );
  return [["trial", "name", "round", "figure"], ...lines]
    .map((line) => `${line.map(escapeCsv).join(",")}\r\n`)
    .join("");
}
