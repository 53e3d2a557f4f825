/** tls.connect, guarded. */
import tls from "node:tls";
import type { GuardOptions } from "./guard.ts";
import { checkGuardOptions, guardStream, withAsyncLookup } from "./streams.ts";

/** The options of tls.connect and of the guard. */
export type TlsConnectOptions = tls.ConnectionOptions & GuardOptions;

/**
 * tls.connect, guarded: the same options and return value. The guard checks the TCP connection before the handshake.
 * With `socket`, it does not guard that stream: guard it where you create it. Throws as guardStream() does.
 */
export function connectTls(given: TlsConnectOptions, onSecure?: () => void): tls.TLSSocket {
  const { guard, options } = given;
  const checked = checkGuardOptions({ ...(guard && { guard }), ...(options && { options }) });
  const socket = tls.connect(withAsyncLookup(given), onSecure);
  return given.socket ? socket : guardStream(socket, checked);
}
