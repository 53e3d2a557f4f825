/** The public door. */

export type { Audit, AuditOptions, JoinedSocket, Knocking, Owner, PortRisk } from "./audit/audit.ts";
export { audit } from "./audit/audit.ts";
export type { Backoff } from "./guard/backoff.ts";
export type { AttemptMessage, RejectedMessage } from "./guard/channels.ts";
export type { Dialed, DialOptions } from "./guard/dial.ts";
export { dial } from "./guard/dial.ts";
export type { Guard, GuardOptions } from "./guard/guard.ts";
export { rangesWithout } from "./guard/guard.ts";
export { guardAgent } from "./guard/http.ts";
export type { ConnectOptions } from "./guard/net.ts";
export { connect } from "./guard/net.ts";
export { guardStream, streamFactory } from "./guard/streams.ts";
export type { TlsConnectOptions } from "./guard/tls.ts";
export { connectTls } from "./guard/tls.ts";
export type { UndiciConnected, UndiciConnectOptions, UndiciRequest } from "./guard/undici.ts";
export { undiciConnect } from "./guard/undici.ts";
export type { Exhaustion } from "./kernel/exhaustion.ts";
export { exhaustion } from "./kernel/exhaustion.ts";
export type { Environment, PortFacts } from "./kernel/host.ts";
export { environment, isOwnAddress, portFacts } from "./kernel/host.ts";
export type { FoundSockets, SocketFilter, SocketOwner, SocketRow, TableSource } from "./kernel/tables.ts";
export {
  findSockets,
  rowsOf,
  socketOwner,
  socketOwners,
  socketTable,
} from "./kernel/tables.ts";
export type { KernelPackage, ShelfOptions } from "./lab/kernels.ts";
export { defaultCacheFolder, KernelShelf } from "./lab/kernels.ts";
export type { Finding, LabKernel, LabOptions, LabResult } from "./lab/lab.ts";
export { experimentsNamed, runLab } from "./lab/lab.ts";
export type { Machine } from "./lab/machine.ts";
export { makeMachines } from "./lab/machines.ts";
export type {
  ReconnectOptions,
  ReconnectProgress,
  ReconnectResult,
  Trial,
  Verdict,
} from "./loop/reconnect.ts";
export { ReconnectLoop, summarizeTrials } from "./loop/reconnect.ts";
export type { Summary, TestResult } from "./loop/statistics.ts";
export { kolmogorovSmirnov, seededRandom, summarize } from "./loop/statistics.ts";
export type { Strategy } from "./loop/strategy.ts";
export type { CaptureCounts, Frame } from "./packets/capture.ts";
export { Capture } from "./packets/capture.ts";
export type { Flag, Segment, SegmentOptions, Undecoded } from "./packets/decode.ts";
export { decodeFrame } from "./packets/decode.ts";
export type { Ladder, LadderEnd, LadderRow } from "./packets/ladder.ts";
export { ladderOf } from "./packets/ladder.ts";
export type { Closing, Leaving } from "./packets/leavings.ts";
export { CLOSINGS, leavings } from "./packets/leavings.ts";
export type { PcapngOptions } from "./packets/pcapng.ts";
export { pcapng } from "./packets/pcapng.ts";
export type { TcpState } from "./packets/states.ts";
export type { CaptureSummary, Trace, TraceOptions } from "./packets/trace.ts";
export { trace } from "./packets/trace.ts";
export type { Sample } from "./packets/watch.ts";
export type { AlgorithmName, PortAlgorithm } from "./ports/algorithms.ts";
export { PORT_ALGORITHMS, portAlgorithm, supposedAlgorithm } from "./ports/algorithms.ts";
export type { Fingerprint, Verdict as FingerprintVerdict } from "./ports/fingerprint.ts";
export { fingerprint } from "./ports/fingerprint.ts";
export type { ModelFacts, Wait } from "./ports/model.ts";
export { PortWalk, simulateWait, waitFor } from "./ports/model.ts";
export type { NamespaceSample } from "./ports/namespace.ts";
export type { Never, Prediction, PredictOptions } from "./ports/predict.ts";
export { expectedAttempts, expectedRemaining, predict, whyNever } from "./ports/predict.ts";
export type { Method, Observation, SampleOptions } from "./ports/sample.ts";
export { METHODS, samplePorts } from "./ports/sample.ts";
export type { WaitTrial, WaitTrialOptions } from "./ports/trials.ts";
export { waitTrials } from "./ports/trials.ts";
export type {
  BenchCell,
  BenchReport,
  BenchRow,
  BenchTrial,
  BenchVerdict,
  PairedRatio,
} from "./report/bench.ts";
export {
  BENCH_CELL_COLUMNS,
  BENCH_TRIALS,
  benchBound,
  benchCellsByTrial,
  benchCellTexts,
  benchFigure,
  benchHeading,
} from "./report/bench.ts";
export { benchHtml } from "./report/bench-html.ts";
export { benchMarkdown } from "./report/bench-markdown.ts";
export type { Change, Comparison } from "./report/compare.ts";
export { compareLabs, compareText } from "./report/compare.ts";
export { labCsv } from "./report/csv.ts";
export { labHtml } from "./report/html.ts";
export { ladderSvg } from "./report/ladder-svg.ts";
export type { Paint } from "./report/ladder-text.ts";
export { informationText, LEAVING_COLUMNS, ladderLines, leavingTexts } from "./report/ladder-text.ts";
export { labMarkdown } from "./report/markdown.ts";
export { mergeLabs } from "./report/merge.ts";
export { NETSTAT_HEADER, netstatText } from "./report/netstat.ts";
export { auditMetrics } from "./report/openmetrics.ts";
export type { PlotLabels, Point } from "./report/plot-text.ts";
export { barPlot, dotPlot } from "./report/plot-text.ts";
export { portsHtml } from "./report/ports-html.ts";
export { parseLabResult } from "./report/schema.ts";
export { labText } from "./report/text.ts";
export type { TracePage } from "./report/trace.ts";
export { traceHtml } from "./report/trace.ts";
export type { Address } from "./socket/address.ts";
export { formatAddress, isSameAddress, parseAddress } from "./socket/address.ts";
export type { Attempt, DialErrorCode } from "./socket/errors.ts";
export { DialError, SocketError } from "./socket/errors.ts";
export { listenRefusal } from "./socket/listen-refusal.ts";
export { nearest } from "./socket/misuse.ts";
export type { OptionRow } from "./socket/native.ts";
export type { OptionName, SocketOptions, TcpInformation } from "./socket/options.ts";
export type { PortRange } from "./socket/port-range.ts";
export { isSelfConnect, wouldSelfConnect } from "./socket/self-connect.ts";
export type { ConnectedLimits } from "./socket/socket.ts";
export { optionTable, supported, TcpSocket } from "./socket/socket.ts";
