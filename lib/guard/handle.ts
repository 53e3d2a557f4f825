/**
 * Guards one TCP handle of Node (libuv's uv_tcp_t) by replacing its bind and connect. Node creates a handle for each
 * address that a net.Socket tries, so every connect of a guarded stream passes through here.
 */

import { closeSync } from "node:fs";
import os from "node:os";
import type { Address } from "../socket/address.ts";
import { toAddress } from "../socket/address.ts";
import type { Attempt } from "../socket/errors.ts";
import { errnoName, findFix, SocketError } from "../socket/errors.ts";
import { endJoined } from "../socket/joined-end.ts";
import { loadNative, nativeOrNull } from "../socket/native.ts";
import { writeOption } from "../socket/option-access.ts";
import type { SocketOptions } from "../socket/options.ts";
import type { PortRange } from "../socket/port-range.ts";
import { isSelfConnect, wouldSelfConnect } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import { hasAttemptSubscribers } from "./channels.ts";
import type { GuardOptions } from "./guard.ts";
import type { CachedPeer } from "./prevention.ts";
import { cachedPeer, isCachedRoutedBack, isOptionSupported, preventionFor } from "./prevention.ts";

/** The handle's methods that Node calls, the same in Node 20 to 26. Numbers returned are 0 or -errno. */
export interface TcpHandle {
  readonly fd: number;
  open(fd: number): number;
  bind(host: string, port: number | undefined, ...rest: unknown[]): number;
  bind6(host: string, port: number | undefined, ...rest: unknown[]): number;
  connect(request: ConnectRequest, host: string, port: number): number;
  connect6(request: ConnectRequest, host: string, port: number): number;
  getsockname(into: Partial<NodeAddress>): number;
  getpeername(into: Partial<NodeAddress>): number;
  shutdown(request: object): number;
  close(done?: () => void): void;
  reset(done?: () => void): number;
}

interface NodeAddress {
  readonly address: string;
  readonly port: number;
}

interface ConnectRequest {
  oncomplete(
    status: number,
    handle: TcpHandle,
    request: ConnectRequest,
    readable: boolean,
    writable: boolean,
  ): void;
}

/** What a guarded handle reports to the stream that owns it. */
export interface HandleOwner {
  readonly options: GuardOptions;
  /** Connected, and not to itself. The attempt is null without subscribers, because creating it takes time. */
  reportConnect(attempt: Attempt | null): void;
  /** connect(2) failed with an errno. `fix`: what the user can do, where no port was free. */
  reportAttempt(attempt: Attempt, fix?: string): void;
  /** A self-connect was refused or reset. Node is about to destroy the stream, or to try the next address. */
  reportRejection(attempt: Attempt, wasConnected: boolean): void;
  /** The socket could not be created with its options. Node is about to destroy the stream. */
  reportFailure(error: unknown): void;
}

/** What Node gets for a rejected connect. Nobody listens on the peer's port, so a connect is refused. */
const REFUSED = -os.constants.errno.ECONNREFUSED;

const EXHAUSTED = -os.constants.errno.EADDRNOTAVAIL;
const TAKEN = -os.constants.errno.EADDRINUSE;
const NOT_CONNECTED = -os.constants.errno.ENOTCONN;

const OWNER = Symbol("selfconnect.owner");
/** We created the descriptor; libuv owns it now. */
const OURS = Symbol("selfconnect.ours");
/** The peer's port while a connect is in progress. */
const CONNECTING = Symbol("selfconnect.connecting");
/** Bound to a port that the kernel picks. */
const AUTOBOUND = Symbol("selfconnect.autobound");

type GuardedTcp = TcpHandle & {
  [OWNER]: HandleOwner;
  [OURS]?: boolean;
  [CONNECTING]?: number | undefined;
  [AUTOBOUND]?: boolean;
};

/** The two functions of each name, by family. */
type Bind = "bind" | "bind6";
type Connect = "connect" | "connect6";
type BindValues = Parameters<TcpHandle["bind"]>;

/** Whether it is, or is wrapped around, a TCP handle, and not a pipe. */
export function isTcp(handle: object): boolean {
  return typeof tcpOf(handle).connect6 === "function";
}

/** Whether it is the handle of a Unix domain socket. */
export function isPipe(handle: object): boolean {
  return "connect" in handle && !isTcp(handle);
}

/** Whether a TCP handle has a descriptor. */
export function hasDescriptor(handle: object): boolean {
  return tcpOf(handle).fd >= 0;
}

/** A TLS handle is wrapped around the TCP handle that connects. */
function tcpOf(handle: object): GuardedTcp {
  return ((handle as { _parent?: object })._parent ?? handle) as GuardedTcp;
}

/** Guards a handle, once; a pipe needs no guard. Returns false for a handle that is none of Node's, and leaves it. */
export function guardHandle(handle: object, owner: HandleOwner): boolean {
  const tcp = tcpOf(handle);
  if (tcp[OWNER] || tcp.constructor.name === "Pipe") return true;
  if (!isNodes(tcp)) return false;
  // Own properties are five times cheaper than a new prototype (measured), and each connect creates a handle.
  tcp[OWNER] = owner;
  tcp.bind = bind;
  tcp.bind6 = bind6;
  tcp.connect = connect;
  tcp.connect6 = connect6;
  tcp.shutdown = shutdown;
  tcp.close = close;
  return true;
}

/** Whether the handle has what this file uses. One of another runtime, or of a later Node, may lack some of it. */
function isNodes(tcp: Partial<TcpHandle>): boolean {
  const { fd, open, bind, bind6, connect, connect6, getsockname, getpeername, shutdown, close, reset } = tcp;
  const methods = [open, bind, bind6, connect, connect6, getsockname, getpeername, shutdown, close, reset];
  return typeof fd === "number" && methods.every((method) => typeof method === "function");
}

function bind(this: TcpHandle, ...values: BindValues): number {
  return bindGuarded(this as GuardedTcp, "bind", values);
}

function bind6(this: TcpHandle, ...values: BindValues): number {
  return bindGuarded(this as GuardedTcp, "bind6", values);
}

function connect(this: TcpHandle, request: ConnectRequest, host: string, port: number): number {
  return connectGuarded(this as GuardedTcp, "connect", request, host, port);
}

function connect6(this: TcpHandle, request: ConnectRequest, host: string, port: number): number {
  return connectGuarded(this as GuardedTcp, "connect6", request, host, port);
}

/** end() of a stream. Only with the guard off can it be joined to itself by now; a FIN would keep its port. */
function shutdown(this: TcpHandle, request: object): number {
  const tcp = this as GuardedTcp;
  const done = isJoinedUnguarded(tcp) ? endJoined(tcp) : null;
  return done ?? originalOf(tcp).shutdown.call(tcp, request);
}

/**
 * Node closes a handle whose stream is destroyed or times out, also one that connects. It may be joined to itself by
 * then, and close(2) would keep the port in TIME-WAIT for a minute: that one is reset.
 */
function close(this: TcpHandle, done?: () => void): void {
  const tcp = this as GuardedTcp;
  const original = originalOf(tcp);
  const port = tcp[CONNECTING];
  const isReset = port === undefined ? isJoinedUnguarded(tcp) : tcp.fd >= 0 && mayBeJoined(tcp, port);
  if (isReset) reset(tcp, done);
  else original.close.call(tcp, done);
}

/**
 * bind(2). Without a local port (Node passes 0, or undefined for a localAddress alone) connect(2) picks it and not
 * bind(2), so that it comes from the range set for it.
 */
function bindGuarded(tcp: GuardedTcp, name: Bind, values: BindValues): number {
  const { guard, options } = tcp[OWNER].options;
  const isLate = !values[1] && guard === "prevent" && isOptionSupported("bindAddressNoPort");
  tcp[AUTOBOUND] = !values[1];
  try {
    if (isLate || options)
      open(tcp, name === "bind" ? 4 : 6, { ...(isLate && { bindAddressNoPort: true }), ...options });
    return originalOf(tcp)[name].apply(tcp, values);
  } catch (error) {
    return reportError(tcp, error);
  }
}

function connectGuarded(
  tcp: GuardedTcp,
  name: Connect,
  request: ConnectRequest,
  host: string,
  port: number,
): number {
  const { guard, options } = tcp[OWNER].options;
  const connectPlainly = () => originalOf(tcp)[name].call(tcp, request, host, port);
  if (guard === "off" && !options) return connectPlainly();
  const startedAt = performance.now();
  try {
    const cached = cachedPeer(host, port, startedAt);
    const peer = cached.address;
    const local = tcp.fd >= 0 ? localOf(tcp) : null;
    if (guard !== "off" && local?.port === port && rejectFixedPort(tcp, local, peer)) return REFUSED;
    const ranges = rangesFor(tcp, cached, local);
    const range = ranges?.next().value as PortRange | undefined;
    if (range || options) prepare(tcp, name === "connect" ? 4 : 6, tcp.fd < 0, range);
    if (guard !== "off") watch(tcp, request, peer, startedAt);
    let result = connectPlainly();
    while (result === EXHAUSTED && ranges) {
      const next = ranges.next();
      if (next.done) break;
      setRange(tcp, next.value);
      result = connectPlainly();
    }
    if (result < 0) reportFailure(tcp, result, peer, startedAt);
    return result;
  } catch (error) {
    return reportError(tcp, error);
  }
}

/** The prototype of the handle: it still has Node's functions, which ours replace. */
function originalOf(tcp: GuardedTcp): TcpHandle {
  return Object.getPrototypeOf(tcp);
}

/** Rejects a fixed local port equal to the peer's, without a connect(2). Returns whether it did. */
function rejectFixedPort(tcp: GuardedTcp, local: Address, peer: Address): boolean {
  const { options } = tcp[OWNER].options;
  // Without an answer it connects, and is then checked.
  if (!wouldSelfConnect(local, peer, isCachedRoutedBack(peer, { options }) === true)) return false;
  tcp[OWNER].reportRejection({ outcome: "self-connect", peer, local, elapsedMs: 0 }, false);
  return true;
}

/**
 * The ranges that prevent a self-connect, in order: each is for when those before it are exhausted. Null where the
 * local port is fixed, or where we did not create the descriptor.
 */
function rangesFor(
  tcp: GuardedTcp,
  peer: CachedPeer,
  local: Address | null,
): Iterator<PortRange, unknown> | null {
  const { guard, options } = tcp[OWNER].options;
  const isPortOpen = local === null || (tcp[OURS] && local.port === 0);
  if (guard !== "prevent" || !isPortOpen) return null;
  const prevention =
    options || local
      ? preventionFor(peer.address, "prevent", { local: local ?? undefined, options })
      : peer.prevention;
  return prevention?.() ?? null;
}

/** Opens a descriptor with the options and the range set. If the handle has one already, sets the range on it. */
function prepare(tcp: GuardedTcp, family: 4 | 6, isNew: boolean, range: PortRange | undefined): void {
  const { options } = tcp[OWNER].options;
  if (isNew && !options) openInRange(tcp, family, range!);
  else {
    if (isNew) open(tcp, family, options!);
    if (range) setRange(tcp, range);
  }
}

/**
 * socket(2) with the range set, in one native call: nearly every connect to this host needs exactly this.
 * On failure (EMFILE) it does nothing: libuv's own socket(2) fails next and reports the error as usual.
 */
function openInRange(tcp: GuardedTcp, family: 4 | 6, { low, high }: PortRange): void {
  const fd = loadNative().socketInRange(family, low, high);
  if (fd >= 0 && tcp.open(fd) !== 0) closeSync(fd);
}

/** socket(2) with the options set, for a handle without a descriptor: libuv then uses this one. */
function open(tcp: GuardedTcp, family: 4 | 6, options: Partial<SocketOptions>): void {
  if (tcp.fd >= 0) return;
  const socket = TcpSocket.open(family, options);
  tcp[OURS] = tcp.open(socket.fd) === 0;
  if (tcp[OURS]) socket.release();
  else socket.close();
}

function setRange(tcp: GuardedTcp, { low, high }: PortRange): void {
  const result = loadNative().setLocalPortRange(tcp.fd, low, high);
  if (result < 0) throw new SocketError(result, { syscall: "setsockopt" });
}

/** Replaces the request's callback, so that we check the connection before Node gets it. */
function watch(tcp: GuardedTcp, request: ConnectRequest, peer: Address, startedAt: number): void {
  const { oncomplete } = request;
  tcp[CONNECTING] = peer.port;
  request.oncomplete = function (this: ConnectRequest, status, handle, sameRequest, readable, writable) {
    tcp[CONNECTING] = undefined;
    const joined = status === 0 ? isJoined(tcp) : 0;
    if (joined !== 0) {
      if (joined > 0) reject(tcp, peer, startedAt);
      else rejectUnknown(tcp, joined, peer, startedAt);
      oncomplete.call(this, REFUSED, handle, sameRequest, false, false);
      return;
    }
    if (status !== 0) reportFailure(tcp, status, peer, startedAt);
    else
      tcp[OWNER].reportConnect(
        hasAttemptSubscribers() ? connectedAttempt(peer, localOf(tcp), startedAt) : null,
      );
    oncomplete.call(this, status, handle, sameRequest, readable, writable);
  };
}

/** Resets the connection first, so that the port is free when the error is reported. */
function reject(tcp: GuardedTcp, peer: Address, startedAt: number): void {
  const local = localOf(tcp) ?? peer;
  resetNow(tcp);
  const elapsedMs = performance.now() - startedAt;
  tcp[OWNER].reportRejection({ outcome: "self-connect", peer, local, elapsedMs }, true);
}

/** The kernel does not report to whom the socket is connected (errno): it may be itself, so it is not handed out. */
function rejectUnknown(tcp: GuardedTcp, errno: number, peer: Address, startedAt: number): void {
  resetNow(tcp);
  reportFailure(tcp, errno, peer, startedAt);
  tcp[OWNER].reportFailure(new SocketError(errno, { syscall: "getpeername", peer }));
}

function reportFailure(tcp: GuardedTcp, errno: number, peer: Address, startedAt: number): void {
  const elapsedMs = performance.now() - startedAt;
  tcp[OWNER].reportAttempt({ outcome: errnoName(errno), peer, elapsedMs }, exhaustionFix(tcp, errno));
}

/** What the user can do when no port was free. libuv reports EADDRINUSE of bind(2) when the stream connects. */
function exhaustionFix(tcp: GuardedTcp, errno: number): string | undefined {
  if (errno === EXHAUSTED) return findFix("connect", "EADDRNOTAVAIL");
  return errno === TAKEN && tcp[AUTOBOUND] ? findFix("bind", "EADDRINUSE", 0) : undefined;
}

/** Our caller is Node, which expects an errno and not an exception: the error goes to the stream's 'error' event. */
function reportError(tcp: GuardedTcp, error: unknown): number {
  tcp[OWNER].reportFailure(error);
  return REFUSED;
}

function localOf(tcp: GuardedTcp): Address | null {
  return nameOf((into) => tcp.getsockname(into));
}

/** 1 when the socket is joined to itself, 0 when it is not; -errno when that is unknown. */
function isJoined(tcp: GuardedTcp): number {
  const native = nativeOrNull();
  if (native && tcp.fd >= 0) return native.isJoinedOf(tcp.fd);
  const local = localOf(tcp);
  const peer = nameOf((into) => tcp.getpeername(into));
  return local && peer ? Number(isSelfConnect(local, peer)) : NOT_CONNECTED;
}

/** Whether a socket that connects to this port is joined to itself, or will be the moment after. */
function mayBeJoined(tcp: GuardedTcp, port: number): boolean {
  const local = localOf(tcp);
  return !local || local.port === port || isJoined(tcp) > 0;
}

/** Whether a socket that the guard has not checked is joined to itself. */
function isJoinedUnguarded(tcp: GuardedTcp): boolean {
  return tcp[OWNER].options.guard === "off" && isJoined(tcp) > 0;
}

/** Sends RST now, so that the port is free at once. If Node closes the handle before that is done, its close waits. */
function resetNow(tcp: GuardedTcp): void {
  const waiting: (() => void)[] = [];
  let isReset = false;
  tcp.close = (done) => {
    if (!done) return;
    if (isReset) queueMicrotask(done);
    else waiting.push(done);
  };
  reset(tcp, () => {
    isReset = true;
    for (const done of waiting) done();
  });
}

/**
 * SO_LINGER {1, 0}, then close(2). A reset of Node's that fails closes nothing, and the handle can then never be
 * closed: so we set the option ourselves, and close in any case.
 */
function reset(tcp: GuardedTcp, done?: () => void): void {
  const native = nativeOrNull();
  const original = originalOf(tcp);
  if (!native || tcp.fd < 0) {
    original.reset.call(tcp, done);
    return;
  }
  try {
    writeOption(native, "lingerSeconds", 0, (row, value) => native.setsockoptOf(tcp.fd, row, value));
  } catch {
    // A seccomp filter forbids it. Closed it is nobody's, although its port stays in TIME-WAIT.
  }
  original.close.call(tcp, done);
}

function connectedAttempt(peer: Address, local: Address | null, startedAt: number): Attempt {
  return { outcome: "connected", peer, ...(local && { local }), elapsedMs: performance.now() - startedAt };
}

function nameOf(ask: (into: Partial<NodeAddress>) => number): Address | null {
  const name: Partial<NodeAddress> = {};
  if (ask(name) < 0 || name.address === undefined || name.port === undefined) return null;
  return toAddress(name.address, name.port);
}
