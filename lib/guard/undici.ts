/** A guarded connector for undici and its fetch: `new Agent({ connect: undiciConnect(buildConnector) })`. */
import net from "node:net";
import { invalidArgument } from "../socket/misuse.ts";
import type { GuardOptions } from "./guard.ts";
import { checkOnlyGuardOptions } from "./guard-options.ts";
import { guardStream, withAsyncLookup } from "./streams.ts";

/** A connector of undici: gets a request for a connection, and returns the socket that connects. */
export type UndiciConnector = (request: never, connected: never) => unknown;

type Connect = (request: { httpSocket?: unknown }, connected: unknown) => unknown;

/** `buildConnector`, which undici exports. */
export type UndiciBuildConnector<Options extends object, Connector extends UndiciConnector> = (
  options?: Options,
) => Connector;

/**
 * undici's own connector, guarded: TLS sessions, HTTP/2, time-outs, `lookup` and all other options are undici's and go
 * to it unchanged. The error of a self-connect is SelfConnectRefusal, code ECONNREFUSED. A Unix domain socket
 * (`socketPath`) is not guarded. Throws as guardStream() does.
 */
export function undiciConnect<Options extends object, Connector extends UndiciConnector>(
  buildConnector: UndiciBuildConnector<Options, Connector>,
  connectorOptions?: Options,
  options?: GuardOptions,
): Connector;
export function undiciConnect(
  buildConnector: (options: object) => Connect,
  connectorOptions: object = {},
  options: GuardOptions = {},
): Connect {
  const checked = checkOnlyGuardOptions("undiciConnect()", options);
  if (typeof buildConnector !== "function")
    throw invalidArgument(
      "ERR_INVALID_ARGUMENT",
      "undiciConnect() takes buildConnector, which undici exports",
    );
  const connect = buildConnector(withAsyncLookup(connectorOptions));
  return (request, connected) => {
    const stream = connect(request, connected);
    // TLS through a proxy: the connection is the one to the proxy, which another connector has made.
    const isOwn = stream instanceof net.Socket && !request.httpSocket;
    return isOwn ? guardStream(stream, checked) : stream;
  };
}
