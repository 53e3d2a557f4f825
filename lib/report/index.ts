/** `selfconnect/report`: results as text, HTML, Markdown, CSV, SVG and metrics. */
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
export type { Change, Comparison } from "./compare.ts";
export { compareLabs, compareText } from "./compare.ts";
export { labCsv } from "./csv.ts";
export { labHtml } from "./html.ts";
export { ladderSvg } from "./ladder-svg.ts";
export type { Paint } from "./ladder-text.ts";
export { informationText, LEAVING_COLUMNS, ladderLines, leavingTexts } from "./ladder-text.ts";
export { labMarkdown } from "./markdown.ts";
export { mergeLabs } from "./merge.ts";
export { NETSTAT_HEADER, netstatText } from "./netstat.ts";
export { auditMetrics } from "./openmetrics.ts";
export type { PlotLabels, Point } from "./plot-text.ts";
export { barPlot, dotPlot } from "./plot-text.ts";
export { portsHtml } from "./ports-html.ts";
export { parseLabResult } from "./schema.ts";
export { labText } from "./text.ts";
export type { TracePage } from "./trace.ts";
export { traceHtml } from "./trace.ts";
