/**
 * One TCP handle of Node's (libuv's uv_tcp_t) under guard: its bind and connect pass through here. Node gives a
 * net.Socket a handle for each address that it tries, so this is where every connect of a program comes by.
 */

import { closeSync } from "node:fs";
import os from "node:os";
import type { Address } from "../socket/address.ts";
import { toAddress } from "../socket/address.ts";
import type { Attempt } from "../socket/errors.ts";
import { errnoName, SocketError } from "../socket/errors.ts";
import { loadNative, nativeOrNull } from "../socket/native.ts";
import type { SocketOptions } from "../socket/options.ts";
import type { PortRange } from "../socket/port-range.ts";
import { isSelfConnect, wouldSelfConnect } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import { areAttemptsHeard } from "./channels.ts";
import type { GuardOptions } from "./guard.ts";
import type { KnownPeer } from "./prevention.ts";
import { isAble, isKnownOwn, knownPeer, preventiveRanges } from "./prevention.ts";

/** What Node's own code calls on a handle, the same in Node 20 to 26. Answers are 0 or -errno. */
export interface TcpHandle {
  readonly fd: number;
  open(fd: number): number;
  bind(host: string, port: number | undefined, ...rest: unknown[]): number;
  bind6(host: string, port: number | undefined, ...rest: unknown[]): number;
  connect(request: ConnectRequest, host: string, port: number): number;
  connect6(request: ConnectRequest, host: string, port: number): number;
  getsockname(into: Partial<NodeAddress>): number;
  getpeername(into: Partial<NodeAddress>): number;
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

/** What a handle tells the stream that it belongs to. */
export interface HandleOwner {
  readonly options: GuardOptions;
  /** Connected, and not to itself. The attempt is made up only where somebody listens to it. */
  connected(attempt: Attempt | null): void;
  /** Ended in an errno. */
  attempted(attempt: Attempt): void;
  /** The connect was kept from the caller; Node is about to destroy the stream, or to try the next address. */
  rejected(attempt: Attempt, wasConnected: boolean): void;
  /** The socket could not be made as asked; Node is about to destroy the stream. */
  failed(error: unknown): void;
}

/** What Node hears of a rejected connect: the truth behind each self-connect, which is that nobody listens. */
const REFUSED = -os.constants.errno.ECONNREFUSED;

const EXHAUSTED = -os.constants.errno.EADDRNOTAVAIL;

const OWNER = Symbol("selfconnect.owner");
/** We created the descriptor; libuv owns it now. */
const OURS = Symbol("selfconnect.ours");

type GuardedTcp = TcpHandle & { [OWNER]: HandleOwner; [OURS]?: boolean };

/** The two functions of each name, by family. */
type Bind = "bind" | "bind6";
type Connect = "connect" | "connect6";
type BindValues = Parameters<TcpHandle["bind"]>;

/** Puts a handle under guard, once. What is no TCP handle (a pipe) is left alone. */
export function guardHandle(handle: object, owner: HandleOwner): void {
  // A TLS handle is wrapped around the TCP handle that connects.
  const tcp = ((handle as { _parent?: object })._parent ?? handle) as GuardedTcp;
  if (typeof tcp.connect6 !== "function" || tcp[OWNER]) return;
  // Own properties are five times cheaper than a new prototype (measured), and each connect creates a handle.
  tcp[OWNER] = owner;
  tcp.bind = bind;
  tcp.bind6 = bind6;
  tcp.connect = connect;
  tcp.connect6 = connect6;
}

function bind(this: TcpHandle, ...values: BindValues): number {
  return guardedBind(this as GuardedTcp, "bind", values);
}

function bind6(this: TcpHandle, ...values: BindValues): number {
  return guardedBind(this as GuardedTcp, "bind6", values);
}

function connect(this: TcpHandle, request: ConnectRequest, host: string, port: number): number {
  return guardedConnect(this as GuardedTcp, "connect", request, host, port);
}

function connect6(this: TcpHandle, request: ConnectRequest, host: string, port: number): number {
  return guardedConnect(this as GuardedTcp, "connect6", request, host, port);
}

/**
 * bind(2). Late where the port is left to the kernel, which Node says by 0 or, with a localAddress alone, by nothing:
 * connect(2) then picks it, from the range set for it.
 */
function guardedBind(tcp: GuardedTcp, name: Bind, values: BindValues): number {
  const { guard, options } = tcp[OWNER].options;
  const isLate = !values[1] && guard === "prevent" && isAble("bindAddressNoPort");
  try {
    if (isLate || options)
      open(tcp, name === "bind" ? 4 : 6, { ...(isLate && { bindAddressNoPort: true }), ...options });
    return nodesOwn(tcp)[name].apply(tcp, values);
  } catch (error) {
    return failed(tcp, error);
  }
}

function guardedConnect(
  tcp: GuardedTcp,
  name: Connect,
  request: ConnectRequest,
  host: string,
  port: number,
): number {
  const { guard, options } = tcp[OWNER].options;
  const connectPlainly = () => nodesOwn(tcp)[name].call(tcp, request, host, port);
  if (guard === "off" && !options) return connectPlainly();
  const startedAt = performance.now();
  try {
    const known = knownPeer(host, port, startedAt);
    const peer = known.address;
    const local = tcp.fd >= 0 ? localOf(tcp) : null;
    if (guard !== "off" && local?.port === port && isRefused(tcp, local, peer)) return REFUSED;
    const ranges = rangesFor(tcp, known, local);
    if (ranges.length > 0 || options) prepare(tcp, name === "connect" ? 4 : 6, tcp.fd < 0, ranges[0]);
    if (guard !== "off") watch(tcp, request, peer, startedAt);
    let answer = connectPlainly();
    if (answer === EXHAUSTED && ranges[1]) {
      setRange(tcp, ranges[1]);
      answer = connectPlainly();
    }
    if (answer < 0) publishFailure(tcp, answer, peer, startedAt);
    return answer;
  } catch (error) {
    return failed(tcp, error);
  }
}

/** What Node gave the handle, below the functions of ours. */
function nodesOwn(tcp: GuardedTcp): TcpHandle {
  return Object.getPrototypeOf(tcp);
}

/** An explicit local port equal to the peer's: it is not even tried. */
function isRefused(tcp: GuardedTcp, local: Address, peer: Address): boolean {
  if (!wouldSelfConnect(local, peer, isKnownOwn(peer))) return false;
  tcp[OWNER].rejected({ outcome: "self-connect", peer, local, elapsedMs: 0 }, false);
  return true;
}

const NONE: readonly PortRange[] = [];

/**
 * The ranges that prevent, in order: the second is for when the first is exhausted. None where the port is fixed, or
 * the descriptor is somebody else's.
 */
function rangesFor(tcp: GuardedTcp, known: KnownPeer, local: Address | null): readonly PortRange[] {
  const { guard, options } = tcp[OWNER].options;
  const isOthers = local !== null && (!tcp[OURS] || local.port !== 0);
  if (guard !== "prevent" || isOthers) return NONE;
  const asked = options?.localPortRange;
  return asked ? preventiveRanges(known.address, "prevent", asked) : known.ranges;
}

/** A descriptor with the options and the range set, unless there is one already: that one gets the range. */
function prepare(tcp: GuardedTcp, family: 4 | 6, isNew: boolean, range: PortRange | undefined): void {
  const { options } = tcp[OWNER].options;
  if (isNew && !options) openInRange(tcp, family, range!);
  else {
    if (isNew) open(tcp, family, options!);
    if (range) setRange(tcp, range);
  }
}

/**
 * socket(2) with the range set, in one native call: what nearly every connect to this host needs, and no more.
 * On failure (EMFILE) it does nothing: libuv's own socket(2) fails next and reports the error as usual.
 */
function openInRange(tcp: GuardedTcp, family: 4 | 6, { low, high }: PortRange): void {
  const fd = loadNative().socketInRange(family, low, high);
  if (fd >= 0 && tcp.open(fd) !== 0) closeSync(fd);
}

/** socket(2) with the options set, on a handle that has no descriptor yet: libuv then goes on with this one. */
function open(tcp: GuardedTcp, family: 4 | 6, options: Partial<SocketOptions>): void {
  if (tcp.fd >= 0) return;
  const socket = TcpSocket.open(family, options);
  tcp[OURS] = tcp.open(socket.fd) === 0;
  if (tcp[OURS]) socket.release();
  else socket.close();
}

function setRange(tcp: GuardedTcp, { low, high }: PortRange): void {
  const answer = loadNative().setLocalPortRange(tcp.fd, low, high);
  if (answer < 0) throw new SocketError(answer, { syscall: "setsockopt" });
}

/** Learns of the end of the connect before Node does. */
function watch(tcp: GuardedTcp, request: ConnectRequest, peer: Address, startedAt: number): void {
  const { oncomplete } = request;
  request.oncomplete = function (this: ConnectRequest, status, handle, sameRequest, readable, writable) {
    if (status !== 0) publishFailure(tcp, status, peer, startedAt);
    else if (isSelfConnected(tcp, peer.port)) {
      reject(tcp, peer, startedAt);
      oncomplete.call(this, REFUSED, handle, sameRequest, false, false);
      return;
    } else {
      const isHeard = areAttemptsHeard();
      tcp[OWNER].connected(isHeard ? connectedAttempt(peer, localOf(tcp), startedAt) : null);
    }
    oncomplete.call(this, status, handle, sameRequest, readable, writable);
  };
}

/** Resets, so that the port is free before anybody learns of it. */
function reject(tcp: GuardedTcp, peer: Address, startedAt: number): void {
  const local = localOf(tcp) ?? peer;
  resetNow(tcp);
  const elapsedMs = performance.now() - startedAt;
  tcp[OWNER].rejected({ outcome: "self-connect", peer, local, elapsedMs }, true);
}

function publishFailure(tcp: GuardedTcp, answer: number, peer: Address, startedAt: number): void {
  const elapsedMs = performance.now() - startedAt;
  tcp[OWNER].attempted({ outcome: errnoName(answer), peer, elapsedMs });
}

/** What is thrown on the way has no caller to go to but the stream's 'error'. */
function failed(tcp: GuardedTcp, error: unknown): number {
  tcp[OWNER].failed(error);
  return REFUSED;
}

function localOf(tcp: GuardedTcp): Address | null {
  return nameOf((into) => tcp.getsockname(into));
}

/**
 * Addresses only where the ports are equal: nearly every connect is cleared by getsockname(2) and one comparison
 * of numbers, which native code makes for a fraction of what Node's own getsockname() takes to write an object.
 */
function isSelfConnected(tcp: GuardedTcp, port: number): boolean {
  const localPort = nativeOrNull()?.localPort(tcp.fd) ?? port;
  if (localPort >= 0 && localPort !== port) return false;
  const name: Partial<NodeAddress> = {};
  if (tcp.getsockname(name) < 0 || name.port !== port) return false;
  const peer = nameOf((into) => tcp.getpeername(into));
  return peer !== null && isSelfConnect(toAddress(name.address!, port), peer);
}

/** RST now, so that the port is free at once; Node's own close, which may come before that is done, waits for it. */
function resetNow(tcp: GuardedTcp): void {
  const waiting: (() => void)[] = [];
  let isReset = false;
  tcp.close = (done) => {
    if (!done) return;
    if (isReset) queueMicrotask(done);
    else waiting.push(done);
  };
  tcp.reset(() => {
    isReset = true;
    for (const done of waiting) done();
  });
}

function connectedAttempt(peer: Address, local: Address | null, startedAt: number): Attempt {
  return { outcome: "connected", peer, ...(local && { local }), elapsedMs: performance.now() - startedAt };
}

function nameOf(ask: (into: Partial<NodeAddress>) => number): Address | null {
  const name: Partial<NodeAddress> = {};
  if (ask(name) < 0 || name.address === undefined || name.port === undefined) return null;
  return toAddress(name.address, name.port);
}
