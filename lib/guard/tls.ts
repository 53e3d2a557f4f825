/** tls.connect, guarded. */
import tls from "node:tls";
import type { GuardOptions } from "./guard.ts";
import { checkGuardOptions, guardStream, unhurried } from "./streams.ts";

/** What tls.connect takes, with the guard's options. */
export type TlsConnectOptions = tls.ConnectionOptions & GuardOptions;

/**
 * tls.connect, guarded: the same options, the same TLSSocket at once. The guard looks at the TCP connection below,
 * before the handshake. With `socket`, that stream is taken as it is: guard it where it is made.
 */
export function connectTls(given: TlsConnectOptions, onSecure?: () => void): tls.TLSSocket {
  const { guard, options } = given;
  const checked = checkGuardOptions({ ...(guard && { guard }), ...(options && { options }) });
  const socket = tls.connect(unhurried(given), onSecure);
  return given.socket ? socket : guardStream(socket, checked);
}
