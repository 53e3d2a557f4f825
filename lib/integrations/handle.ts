/**
 * One TCP handle of Node's (libuv's uv_tcp_t) under guard: its bind and connect pass through here. Node gives a
 * net.Socket a handle for each address that it tries, so this is where every connect of a program comes by.
 */
import { closeSync } from "node:fs";
import os from "node:os";
import type { Address } from "../address.ts";
import { toAddress } from "../address.ts";
import type { Attempt } from "../errors.ts";
import { errnoName, SocketError } from "../errors.ts";
import type { GuardOptions } from "../guard.ts";
import { isSelfConnect, wouldSelfConnect } from "../guard.ts";
import type { Native } from "../native.ts";
import type { PortRange, SocketOptions } from "../options.ts";
import { isAble, isKnownOwn, knownRanges, preventiveRanges } from "../ports/prevention.ts";
import { TcpSocket } from "../socket.ts";

/** What Node's own code calls on a handle, the same in Node 20 to 26. Answers are 0 or -errno. */
export interface TcpHandle {
  readonly fd: number;
  open(fd: number): number;
  bind(host: string, port: number, ...rest: unknown[]): number;
  bind6(host: string, port: number, ...rest: unknown[]): number;
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
  readonly native: Native | null;
  /** Connected, and not to itself. The attempt is made up only where somebody wants to know. */
  connected(attempt: () => Attempt): void;
  /** Ended in an errno. */
  attempted(attempt: Attempt): void;
  /** The connect was kept from the caller; Node is about to destroy the stream, or to try the next address. */
  rejected(attempt: Attempt, wasConnected: boolean): void;
  /** The socket could not be made as asked; Node is about to destroy the stream. */
  failed(error: unknown): void;
}

/** What Node hears of a rejected connect: the truth behind each self-connect, which is that nobody listens. */
const REFUSED = -os.constants.errno.ECONNREFUSED;

const GUARD = Symbol("selfconnect.guard");

/** Puts a handle under guard, once. What is no TCP handle (a pipe) is left alone. */
export function guardHandle(handle: object, owner: HandleOwner): void {
  // A TLS handle is wrapped around the TCP handle that connects.
  const tcp = ((handle as { _parent?: object })._parent ?? handle) as GuardedTcp;
  if (typeof tcp.connect6 !== "function" || tcp[GUARD]) return;
  const node = Object.getPrototypeOf(tcp) as TcpHandle;
  tcp[GUARD] = new GuardedHandle(tcp, node, owner);
  // One step for all its functions, and the same for every handle: V8 then takes them for objects of one kind.
  Object.setPrototypeOf(tcp, guardedKind(node));
}

type GuardedTcp = TcpHandle & { [GUARD]: GuardedHandle };

const kinds = new WeakMap<TcpHandle, object>();

/** What stands between a guarded handle and the prototype that Node gave it. */
function guardedKind(node: TcpHandle): object {
  const known = kinds.get(node);
  if (known) return known;
  const kind = Object.assign(Object.create(node), { bind, bind6, connect, connect6, close });
  kinds.set(node, kind);
  return kind;
}

function bind(this: GuardedTcp, ...values: Parameters<TcpHandle["bind"]>): number {
  return this[GUARD].bind(4, values);
}

function bind6(this: GuardedTcp, ...values: Parameters<TcpHandle["bind"]>): number {
  return this[GUARD].bind(6, values);
}

function connect(this: GuardedTcp, request: ConnectRequest, host: string, port: number): number {
  return this[GUARD].connect(4, request, host, port);
}

function connect6(this: GuardedTcp, request: ConnectRequest, host: string, port: number): number {
  return this[GUARD].connect(6, request, host, port);
}

function close(this: GuardedTcp, done?: () => void): void {
  this[GUARD].close(done);
}

class GuardedHandle {
  readonly #tcp: TcpHandle;
  /** Node's own bind, connect and close. */
  readonly #node: TcpHandle;
  readonly #owner: HandleOwner;
  /** The socket on the handle's descriptor, ours to set options on until connect(2) is under way. */
  #socket: TcpSocket | null = null;
  /** Who waits for the end of a reset; null while there is none. */
  #waiting: (() => void)[] | null = null;
  #isReset = false;

  constructor(tcp: TcpHandle, node: TcpHandle, owner: HandleOwner) {
    this.#tcp = tcp;
    this.#node = node;
    this.#owner = owner;
  }

  /** bind(2). Late where it may be: the port is then picked by connect(2), from the range set for it. */
  bind(family: 4 | 6, values: Parameters<TcpHandle["bind"]>): number {
    const { guard, options } = this.#owner.options;
    const isLate = values[1] === 0 && guard === "prevent" && this.#isAble("bindAddressNoPort");
    return this.#ask(() => {
      if (isLate || options) this.#open(family, { ...(isLate && { bindAddressNoPort: true }), ...options });
      return this.#node[family === 4 ? "bind" : "bind6"].apply(this.#tcp, values);
    });
  }

  connect(family: 4 | 6, request: ConnectRequest, host: string, port: number): number {
    const { guard, options } = this.#owner.options;
    const connect = () =>
      this.#node[family === 4 ? "connect" : "connect6"].call(this.#tcp, request, host, port);
    if (guard === "off" && !options) return connect();
    const startedAt = performance.now();
    return this.#ask(() => {
      const isOpen = this.#tcp.fd >= 0;
      const local = isOpen ? this.#local() : null;
      if (guard !== "off" && local?.port === port && this.#isRefused(local, toAddress(host, port)))
        return REFUSED;
      const ranges = this.#ranges(host, port, local, startedAt);
      const isReady = !isOpen && !options && ranges.length > 0 && this.#openInRange(family, ranges[0]!);
      if (!isReady && (ranges.length > 0 || options)) this.#open(family, options ?? {});
      if (guard !== "off") this.#watch(request, host, port, startedAt);
      const answer = isReady ? this.#connectInRange(ranges, connect) : this.#connectFrom(ranges, connect);
      this.#handOver();
      if (answer < 0) this.#told(answer, host, port, startedAt);
      return answer;
    });
  }

  close(done?: () => void): void {
    this.#handOver();
    if (!this.#waiting) this.#node.close.call(this.#tcp, done);
    else if (!done) return;
    else if (this.#isReset) queueMicrotask(done);
    else this.#waiting.push(done);
  }

  /** From each range in turn while the one before is exhausted. */
  #connectFrom(ranges: readonly PortRange[], connect: () => number): number {
    let answer = 0;
    for (const range of ranges.length > 0 && this.#socket ? ranges : [null]) {
      if (range) this.#socket!.setsockopt("localPortRange", range);
      answer = connect();
      if (answer === 0 || errnoName(answer) !== "EADDRNOTAVAIL") break;
    }
    return answer;
  }

  /** The same on a descriptor that has the first range already. */
  #connectInRange(ranges: readonly PortRange[], connect: () => number): number {
    const answer = connect();
    if (answer === 0 || ranges.length === 1 || errnoName(answer) !== "EADDRNOTAVAIL") return answer;
    const { low, high } = ranges[1]!;
    const set = this.#owner.native!.setLocalPortRange(this.#tcp.fd, low, high);
    if (set < 0) throw new SocketError(set, { syscall: "setsockopt" });
    return connect();
  }

  /** An explicit local port equal to the peer's: it is not even tried. */
  #isRefused(local: Address, peer: Address): boolean {
    if (!wouldSelfConnect(local, peer, isKnownOwn(peer))) return false;
    this.#owner.rejected({ outcome: "self-connect", peer, local, elapsedMs: 0 }, false);
    return true;
  }

  /** The ranges that prevent; none where the port is fixed, or the descriptor is somebody else's. */
  #ranges(host: string, port: number, local: Address | null, nowMs: number): readonly PortRange[] {
    const { options, native } = this.#owner;
    const isOthers = local !== null && (!this.#socket || local.port !== 0);
    if (!native || options.guard !== "prevent" || isOthers) return [];
    const asked = options.options?.localPortRange;
    if (asked) return preventiveRanges(toAddress(host, port), "prevent", native, asked);
    return knownRanges(host, port, native, nowMs);
  }

  /** socket(2) with the range set, in one native call: what nearly every connect to this host needs, and no more. */
  #openInRange(family: 4 | 6, { low, high }: PortRange): boolean {
    const fd = this.#owner.native!.socketInRange(family, low, high);
    if (fd < 0) return false;
    const isTaken = this.#tcp.open(fd) === 0;
    if (!isTaken) closeSync(fd);
    return isTaken;
  }

  /** socket(2) with the options set, on a handle that has no descriptor yet: libuv then goes on with this one. */
  #open(family: 4 | 6, options: Partial<SocketOptions>): void {
    if (this.#tcp.fd >= 0) return;
    const socket = TcpSocket.open(family, options, this.#owner.native ?? undefined);
    const answer = this.#tcp.open(socket.fd);
    if (answer === 0) this.#socket = socket;
    else socket.close();
  }

  /** From here on the descriptor is libuv's alone. */
  #handOver(): void {
    this.#socket?.release();
    this.#socket = null;
  }

  /** Hears of the end of the connect before Node does. */
  #watch(request: ConnectRequest, host: string, port: number, startedAt: number): void {
    const { oncomplete } = request;
    const self = this;
    request.oncomplete = function (this: ConnectRequest, status, handle, sameRequest, readable, writable) {
      if (status !== 0) self.#told(status, host, port, startedAt);
      else if (self.#isSelfConnected(port)) {
        self.#reject(toAddress(host, port), startedAt);
        oncomplete.call(this, REFUSED, handle, sameRequest, false, false);
        return;
      } else {
        self.#owner.connected(() => connectedAttempt(toAddress(host, port), self.#local(), startedAt));
      }
      oncomplete.call(this, status, handle, sameRequest, readable, writable);
    };
  }

  /** Resets, so that the port is free before anybody hears of it. */
  #reject(peer: Address, startedAt: number): void {
    const local = this.#local() ?? peer;
    this.#reset();
    this.#owner.rejected(
      { outcome: "self-connect", peer, local, elapsedMs: performance.now() - startedAt },
      true,
    );
  }

  #told(answer: number, host: string, port: number, startedAt: number): void {
    const elapsedMs = performance.now() - startedAt;
    this.#owner.attempted({ outcome: errnoName(answer), peer: toAddress(host, port), elapsedMs });
  }

  #local(): Address | null {
    return nameOf((into) => this.#tcp.getsockname(into));
  }

  /**
   * Addresses only where the ports are equal: nearly every connect is cleared by getsockname(2) and one comparison
   * of numbers, which native code makes for a fraction of what Node's own getsockname() takes to write an object.
   */
  #isSelfConnected(port: number): boolean {
    const localPort = this.#owner.native?.localPort(this.#tcp.fd) ?? port;
    if (localPort >= 0 && localPort !== port) return false;
    const name: Partial<NodeAddress> = {};
    if (this.#tcp.getsockname(name) < 0 || name.port !== port) return false;
    const peer = nameOf((into) => this.#tcp.getpeername(into));
    return peer !== null && isSelfConnect(toAddress(name.address!, port), peer);
  }

  /** RST now, so that the port is free at once; Node's own close, which may come later, waits for it. */
  #reset(): void {
    this.#waiting = [];
    this.#node.reset.call(this.#tcp, () => {
      this.#isReset = true;
      for (const done of this.#waiting!) done();
    });
  }

  /** What is thrown in here has no caller to go to but the stream's 'error'. */
  #ask(call: () => number): number {
    try {
      return call();
    } catch (error) {
      this.#handOver();
      this.#owner.failed(error);
      return REFUSED;
    }
  }

  #isAble(name: "bindAddressNoPort"): boolean {
    return this.#owner.native !== null && isAble(name, this.#owner.native);
  }
}

function connectedAttempt(peer: Address, local: Address | null, startedAt: number): Attempt {
  return { outcome: "connected", peer, ...(local && { local }), elapsedMs: performance.now() - startedAt };
}

function nameOf(ask: (into: Partial<NodeAddress>) => number): Address | null {
  const name: Partial<NodeAddress> = {};
  if (ask(name) < 0 || name.address === undefined || name.port === undefined) return null;
  return toAddress(name.address, name.port);
}
