/** tls.connect, guarded. */
import tls from "node:tls";
import { checkCallbacks, checkObject, invalidArgument } from "../socket/misuse.ts";
import type { GuardOptions } from "./guard.ts";
import { checkGuardKeys, checkGuardOptions, GUARD_KEYS } from "./guard-options.ts";
import { guardStream, withAsyncLookup } from "./streams.ts";

/** The options of tls.connect and of the guard. */
export type TlsConnectOptions = tls.ConnectionOptions & GuardOptions;

/**
 * tls.connect, guarded: the same options and return value. The guard checks the TCP connection before the handshake.
 * With `socket`, it does not guard that stream: guard it where you create it. Throws as guardStream() does.
 */
export function connectTls(given: TlsConnectOptions, onSecure?: () => void): tls.TLSSocket {
  checkObject("connectTls()", given, ["port", "host", "socket", ...GUARD_KEYS]);
  checkGuardKeys("connectTls()", given);
  checkCallbacks({ onSecure }, ["onSecure"]);
  const { guard, options } = given;
  const checked = checkGuardOptions({ ...(guard && { guard }), ...(options && { options }) });
  if (given.socket && options) {
    const message =
      "`options` are for a socket that connectTls() opens: with `socket`, guard that one with them";
    throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
  }
  const socket = tls.connect(withAsyncLookup(given), onSecure);
  return given.socket ? socket : guardStream(socket, checked);
}
