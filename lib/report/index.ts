/** `selfconnect/report`: results as text, HTML, Markdown, CSV, SVG and metrics. */

export { auditMetrics } from "./audit-openmetrics.ts";
export type {
  BenchCell,
  BenchReport,
  BenchRow,
  BenchTrial,
  BenchVerdict,
  PairedRatio,
} from "./bench.ts";
export {
  BENCH_CELL_COLUMNS,
  BENCH_TRIALS,
  benchBound,
  benchCellsByTrial,
  benchCellTexts,
  benchFigure,
  benchHeading,
} from "./bench.ts";
export { benchHtml } from "./bench-html.ts";
export { benchMarkdown } from "./bench-markdown.ts";
export type { Change, Comparison } from "./lab-compare.ts";
export { compareLabs, compareText } from "./lab-compare.ts";
export { labCsv } from "./lab-csv.ts";
export { labHtml } from "./lab-html.ts";
export { labMarkdown } from "./lab-markdown.ts";
export { mergeLabs } from "./lab-merge.ts";
export { parseLabResult } from "./lab-schema.ts";
export { labText } from "./lab-text.ts";
export { ladderSvg } from "./ladder-svg.ts";
export type { Paint } from "./ladder-text.ts";
export { informationText, LEAVING_COLUMNS, ladderLines, leavingTexts } from "./ladder-text.ts";
export { NETSTAT_HEADER, netstatText } from "./netstat.ts";
export type { PlotLabels, Point } from "./plot-text.ts";
export { barPlot, dotPlot } from "./plot-text.ts";
export { portsHtml } from "./ports-html.ts";
export type { TracePage } from "./trace-html.ts";
export { traceHtml } from "./trace-html.ts";
