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
  if (given.timeout) socket.setTimeout(given.timeout);
  const begin = () => (socket as { connect(...values: unknown[]): net.Socket }).connect(first, ...rest);
  return clientSockets.hasSubscribers ? publishOnce(socket, begin) : begin();
}

/** In Node 20 it is net.connect that publishes, since Node 22 the method that it calls. */
function publishOnce(socket: net.Socket, begin: () => net.Socket): net.Socket {
  let isPublished = false;
  const see = (message: unknown) => {
    isPublished ||= (message as { socket?: unknown }).socket === socket;
  };
  clientSockets.subscribe(see);
  try {
    begin();
  } finally {
    clientSockets.unsubscribe(see);
  }
  if (!isPublished) clientSockets.publish({ socket });
  return socket;
}
