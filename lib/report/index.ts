/** `selfconnect/report`: results as published objects, text, HTML, Markdown, CSV, SVG, pcapng and metrics. */
export type { AuditReport } from "./audit.ts";
export { auditChangesText, auditReport, auditText, hostAuditReport, hostAuditText } from "./audit.ts";
export { auditMetrics, fleetAuditMetrics, hostAuditMetrics } from "./audit-openmetrics.ts";
export type {
  BenchCell,
  BenchDriver,
  BenchReport,
  BenchRow,
  BenchScan,
  BenchTrial,
  BenchVerdict,
  PairedRatio,
} from "./bench.ts";
export { BENCH_TRIALS, BENCH_UNITS } from "./bench.ts";
export type { BenchBounds } from "./bench-bounds.ts";
export { applyBenchBounds, checkBenchBounds, parseBenchBounds } from "./bench-bounds.ts";
export { benchCsv } from "./bench-csv.ts";
export { benchHtml } from "./bench-html.ts";
export { benchMarkdown } from "./bench-markdown.ts";
export { benchText } from "./bench-text.ts";
export type { Change, Comparison } from "./compare.ts";
export { compareResults } from "./compare.ts";
export { compareText, comparisonSheet } from "./compare-sheet.ts";
export type { DialOutcome, DialReport } from "./dial.ts";
export { dialReport, dialText } from "./dial.ts";
export type { DoctorReport } from "./doctor.ts";
export { doctorReport, doctorText } from "./doctor.ts";
export type { FleetAuditReport } from "./fleet-audit.ts";
export { fleetAuditReport, fleetAuditText } from "./fleet-audit.ts";
export type { FreeReport } from "./free.ts";
export { freeReport, freeText } from "./free.ts";
export type { HostsReport } from "./hosts.ts";
export { hostsReport, hostsText } from "./hosts.ts";
export type { LabCleanReport } from "./lab-clean.ts";
export { labCleanReport, labCleanText } from "./lab-clean.ts";
export { labCsv } from "./lab-csv.ts";
export { judgementText } from "./lab-expect.ts";
export { labHtml } from "./lab-html.ts";
export type { LabKernelsReport } from "./lab-kernels.ts";
export { labKernelsReport, labKernelsText } from "./lab-kernels.ts";
export type { LabListReport } from "./lab-list.ts";
export { labListReport, labListText } from "./lab-list.ts";
export { labMarkdown } from "./lab-markdown.ts";
export { mergeLabs } from "./lab-merge.ts";
export { parseLabResult } from "./lab-schema.ts";
export { labText } from "./lab-text.ts";
export { ladderSvg } from "./ladder-svg.ts";
export { neverText } from "./never.ts";
export type { PortsReport } from "./ports.ts";
export { portsReport, portsText } from "./ports.ts";
export { portsHtml } from "./ports-html.ts";
export type { PortsReadReport } from "./ports-read.ts";
export { portsReadHtml, portsReadReport, portsReadText } from "./ports-read.ts";
export type { PredictPace, PredictQuestion, PredictReport } from "./predict.ts";
export { predictReport, predictText } from "./predict.ts";
export type { ReconnectReport, ReconnectTextOptions, ReconnectTrials } from "./reconnect.ts";
export { reconnectReport, reconnectText } from "./reconnect.ts";
export type { HistogramBar } from "./reconnect-histogram.ts";
export {
  reconnectAfterText,
  reconnectHarmText,
  reconnectProgressText,
  reconnectStartText,
} from "./reconnect-progress.ts";
export type { ReserveReport } from "./reserve.ts";
export { reserveReport, reserveText } from "./reserve.ts";
export type { MeasuredResult, ResultHost, ResultKind } from "./result.ts";
export { measuredResult, parseResult } from "./result.ts";
export type { ResultRow } from "./result-rows.ts";
export { resultSheet } from "./result-sheet.ts";
export type { Sheet, SheetSection } from "./sheet.ts";
export { sheetCsv, sheetHtml, sheetMarkdown, sheetText } from "./sheet.ts";
export { storyHtml } from "./story-html.ts";
export type { StoryTrials } from "./story-trials.ts";
export type { TextOptions } from "./terminal.ts";
export type { TraceExtras, TraceReport } from "./trace.ts";
export { tracePcapng, traceReport, traceText } from "./trace.ts";
export { traceHtml } from "./trace-html.ts";
export type { WhoReport } from "./who.ts";
export { holderText, whoReport, whoText } from "./who.ts";
