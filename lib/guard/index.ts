/** The guard: no caller gets a socket that is joined to itself. */
export type { Backoff } from "./backoff.ts";
export type { AttemptMessage, RejectedMessage } from "./channels.ts";
export type { Dialed, DialOptions } from "./dial.ts";
export { dial } from "./dial.ts";
export type { Guard, GuardOptions } from "./guard.ts";
export { guardAgent } from "./http.ts";
export { guardedEnvironment } from "./inherit.ts";
export type { ConnectOptions } from "./net.ts";
export { connect } from "./net.ts";
export { rangesWithout } from "./prevention.ts";
export { guardStream, streamFactory } from "./streams.ts";
export type { TlsConnectOptions } from "./tls.ts";
export { connectTls } from "./tls.ts";
export type { UndiciConnected, UndiciConnectOptions, UndiciRequest } from "./undici.ts";
export { undiciConnect } from "./undici.ts";
