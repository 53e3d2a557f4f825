/** net.connect, guarded. */

import { channel } from "node:diagnostics_channel";
import type net from "node:net";
import { invalidArgument } from "../socket/misuse.ts";
import type { GuardOptions } from "./guard.ts";
import { checkGuardOptions, GuardedSocket } from "./streams.ts";

/** What net.connect takes, with the guard's options. */
export type ConnectOptions = net.NetConnectOpts & GuardOptions;

type GivenOptions = net.SocketConstructorOpts & { timeout?: number; path?: string } & GuardOptions;

/** Where Node tells of every socket that net.connect makes. */
const clientSockets = channel("net.client.socket");

/**
 * net.connect, guarded: the same arguments, the same net.Socket at once, the same events. A connect that would end,
 * or ended, joined to itself is an 'error' with DialError ERR_SELF_CONNECT, and never a 'connect'.
 */
export function connect(options: ConnectOptions, onConnect?: () => void): net.Socket;
export function connect(port: number, host?: string, onConnect?: () => void): net.Socket;
export function connect(port: number, onConnect?: () => void): net.Socket;
export function connect(path: string, onConnect?: () => void): net.Socket;
export function connect(first: ConnectOptions | number | string, ...rest: unknown[]): net.Socket {
  const given = (typeof first === "object" ? first : {}) as GivenOptions;
  const checked = checkGuardOptions(given);
  if (given.options && given.path) {
    throw invalidArgument("ERR_OPTION_UNSUPPORTED", "options are of TCP sockets, and a path is none");
  }
  const socket = new GuardedSocket(given, checked);
  if (clientSockets.hasSubscribers) clientSockets.publish({ socket });
  if (given.timeout) socket.setTimeout(given.timeout);
  return (socket as { connect(...values: unknown[]): net.Socket }).connect(first, ...rest);
}
