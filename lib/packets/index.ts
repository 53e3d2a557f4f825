/** `selfconnect/packets`: captures and explains the packets of a self-connect. */
export type { CaptureCounts, Frame } from "./capture.ts";
export { Capture } from "./capture.ts";
export type { CaptureFileEnd, OnFrame } from "./capture-file.ts";
export { readCaptureFile } from "./capture-file.ts";
export type { Flag, Segment, SegmentOptions, Undecoded } from "./decode.ts";
export { decodeFrame } from "./decode.ts";
export type { Ladder, LadderEnd, LadderRow } from "./ladder.ts";
export { ladderOf } from "./ladder.ts";
export type { Closing, Leaving } from "./leavings.ts";
export { CLOSINGS, observeLeavings } from "./leavings.ts";
export type { ReportedState } from "./lookout.ts";
export type { PcapngOptions } from "./pcapng.ts";
export { pcapng } from "./pcapng.ts";
export type { CaptureSummary, Trace, TraceOptions, TraceVerdict } from "./trace.ts";
export { trace } from "./trace.ts";
