/** The public door. */
export type { Address } from "./address.ts";
export { formatAddress, isSameAddress, parseAddress } from "./address.ts";
export type { Attempt, DialErrorCode } from "./errors.ts";
export { DialError, SocketError } from "./errors.ts";
export { isSelfConnect } from "./guard.ts";
export { echo, listenRefusal } from "./harm.ts";
export type { Environment, PortFacts } from "./kernel/host.ts";
export { environment, isOwnAddress, portFacts } from "./kernel/host.ts";
export type { SocketOwner, SocketRow } from "./kernel/tables.ts";
export { NETSTAT_HEADER, netstatText, rowsOf, socketOwner, socketTable } from "./kernel/tables.ts";
export { nearest } from "./misuse.ts";
export type { OptionRow } from "./native.ts";
export type { OptionName, PortRange, SocketOptions, TcpInformation } from "./options.ts";
export type { Never } from "./ports/predict.ts";
export { expectedAttempts, expectedRemaining, whyNever } from "./ports/predict.ts";
export type { Summary } from "./ports/statistics.ts";
export { summarize } from "./ports/statistics.ts";
export type {
  ReconnectOptions,
  ReconnectProgress,
  ReconnectResult,
  Strategy,
  Trial,
  Verdict,
} from "./reconnect.ts";
export { ReconnectLoop, summarizeTrials } from "./reconnect.ts";
export type { ConnectedLimits } from "./socket.ts";
export { optionTable, supported, TcpSocket } from "./socket.ts";
