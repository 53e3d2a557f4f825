/** ReconnectLoop: connects again and again until a self-connect. Statistics of trials. */

export type { Engine } from "./engine.ts";
export type { ReconnectOptions } from "./options.ts";
export type {
  ReconnectProgress,
  ReconnectResult,
  ReconnectVerdict,
  Trial,
} from "./reconnect.ts";
export { ReconnectLoop, summarizeTrials } from "./reconnect.ts";
export type { Summary, TestResult } from "./statistics.ts";
export { summarize } from "./statistics.ts";
