/** A guarded connector for undici and its fetch: `new Agent({ connect: undiciConnect() })`. */
import type net from "node:net";
import type tls from "node:tls";
import type { GuardOptions } from "./guard.ts";
import { connect } from "./net.ts";
import { checkGuardOptions } from "./streams.ts";
import { connectTls } from "./tls.ts";

/** What undici passes to a connector, in all its versions that run on Node 20 and later. */
export interface UndiciRequest {
  readonly hostname: string;
  readonly host?: string;
  readonly protocol: string;
  readonly port: string;
  readonly servername?: string | null;
  readonly localAddress?: string | null;
  /** The tunnel through a proxy, already connected. */
  readonly httpSocket?: net.Socket;
}

/** The callback of an undici connector. Gets an error, or a socket that is connected and not joined to itself. */
export type UndiciConnected = (
  ...result: [error: null, socket: net.Socket] | [error: Error, socket: null]
) => void;

/** The options of undiciConnect(): the guard, the options of tls.connect, and the time-out. */
export interface UndiciConnectOptions extends GuardOptions {
  /** Options of tls.connect: ca, cert, rejectUnauthorized … */
  readonly tls?: tls.ConnectionOptions;
  /** Milliseconds, as in undici's own connector; default 10,000, and 0 for no time-out. */
  readonly connectTimeoutMs?: number;
}

const CONNECT_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;

/** Returns a guarded connector for undici. It negotiates HTTP/1.1. Throws as guardStream() does. */
export function undiciConnect(options: UndiciConnectOptions = {}) {
  const { guard, options: socketOptions, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  const guardOptions = { ...(guard && { guard }), ...(socketOptions && { options: socketOptions }) };
  checkGuardOptions(guardOptions);
  return (request: UndiciRequest, connected: UndiciConnected): net.Socket => {
    const isSecure = request.protocol === "https:";
    const socket = isSecure
      ? connectTls({ ...tlsOptions(request, options.tls), ...guardOptions })
      : connect({ ...tcpOptions(request), port: Number(request.port || 80), ...guardOptions });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    const timer =
      connectTimeoutMs > 0
        ? setTimeout(() => socket.destroy(timeoutError(request)), connectTimeoutMs)
        : undefined;
    const settle = once((error: Error | null) => {
      clearTimeout(timer);
      if (error) connected(error, null);
      else connected(null, socket);
    });
    socket.once(isSecure ? "secureConnect" : "connect", () => settle(null));
    socket.on("error", settle); // undici handles later errors itself.
    return socket;
  };
}

function tcpOptions({ hostname, localAddress }: UndiciRequest) {
  // In a URL an IPv6 address is in brackets.
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, ...(localAddress && { localAddress }) };
}

function tlsOptions(request: UndiciRequest, own: tls.ConnectionOptions = {}): tls.ConnectionOptions {
  const { servername, httpSocket, port } = request;
  return {
    ALPNProtocols: ["http/1.1"],
    ...own,
    ...tcpOptions(request),
    port: Number(port || 443),
    ...(servername && { servername }),
    ...(httpSocket && { socket: httpSocket }),
  };
}

function timeoutError({ hostname, port }: UndiciRequest): Error {
  const error = new Error(`not connected to ${hostname}:${port} in time`);
  return Object.assign(error, { name: "ConnectTimeoutError", code: "UND_ERR_CONNECT_TIMEOUT" });
}

function once(call: (error: Error | null) => void): (error: Error | null) => void {
  let isDone = false;
  return (error) => {
    if (isDone) return;
    isDone = true;
    call(error);
  };
}
