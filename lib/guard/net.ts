/** net.connect, guarded. */

import { channel } from "node:diagnostics_channel";
import net from "node:net";
import { checkCallbacks, checkObject, invalidArgument } from "../socket/misuse.ts";
import type { GuardOptions } from "./guard.ts";
import { checkGuardKeys, checkGuardOptions, GUARD_KEYS } from "./guard-options.ts";
import { guardChecked } from "./streams.ts";

/** The options of net.connect and of the guard. */
export type ConnectOptions = net.NetConnectOpts & GuardOptions;

type GivenOptions = net.SocketConstructorOpts & { timeout?: number; path?: string } & GuardOptions;

/** net.connect publishes each new socket on this channel, so connect() does too. */
const clientSockets = channel("net.client.socket");

/**
 * net.connect, guarded: the same arguments, return value and events. A self-connect, refused or reset, is an 'error'
 * event with SelfConnectRefusal (code ECONNREFUSED, the verdict in `cause`), and never a 'connect' event. Wrong options
 * throw, as in guardStream(); so does a misspelt `guard` or `options`.
 */
export function connect(options: ConnectOptions, onConnect?: () => void): net.Socket;
export function connect(port: number, host?: string, onConnect?: () => void): net.Socket;
export function connect(port: number, onConnect?: () => void): net.Socket;
export function connect(path: string, onConnect?: () => void): net.Socket;
export function connect(first: ConnectOptions | number | string, ...rest: unknown[]): net.Socket {
  if (first === null) checkObject("connect()", first, ["port", "host", "path", ...GUARD_KEYS]);
  const given = (typeof first === "object" ? first : {}) as GivenOptions;
  checkGuardKeys("connect()", given);
  const onConnect = rest.at(-1);
  if (typeof onConnect !== "string") checkCallbacks({ onConnect }, ["onConnect"]);
  const checked = checkGuardOptions(given);
  if (given.options && given.path) {
    throw invalidArgument(
      "ERR_OPTION_UNSUPPORTED",
      "`options` are for TCP sockets; `path` connects a Unix domain socket",
    );
  }
  const socket = guardChecked(new net.Socket(given), checked);
  if (clientSockets.hasSubscribers) clientSockets.publish({ socket });
  if (given.timeout) socket.setTimeout(given.timeout);
  return (socket as { connect(...values: unknown[]): net.Socket }).connect(first, ...rest);
}
