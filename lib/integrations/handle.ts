/**
 * One TCP handle of Node's (libuv's uv_tcp_t) under guard: its bind and connect pass through here. Node gives a
 * net.Socket a handle for each address that it tries, so this is where every connect of a program comes by.
 */
import os from "node:os";
import type { Address } from "../address.ts";
import { toAddress } from "../address.ts";
import type { Attempt } from "../errors.ts";
import { errnoName } from "../errors.ts";
import type { GuardOptions } from "../guard.ts";
import { isSelfConnect, wouldSelfConnect } from "../guard.ts";
import type { Native } from "../native.ts";
import type { PortRange, SocketOptions } from "../options.ts";
import { isAble, isKnownOwn, preventiveRanges } from "../ports/prevention.ts";
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
  oncomplete(status: number, handle: TcpHandle, request: ConnectRequest, ...rest: unknown[]): void;
}

/** What a handle tells the stream that it belongs to. */
export interface HandleOwner {
  readonly options: GuardOptions;
  readonly native: Native | null;
  attempted(attempt: Attempt): void;
  /** The connect was kept from the caller; Node is about to destroy the stream, or to try the next address. */
  rejected(attempt: Attempt, wasConnected: boolean): void;
  /** The socket could not be made as asked; Node is about to destroy the stream. */
  failed(error: unknown): void;
}

/** What Node hears of a rejected connect: the truth behind each self-connect, which is that nobody listens. */
const REFUSED = -os.constants.errno.ECONNREFUSED;

/** Puts a handle under guard, once. What is no TCP handle (a pipe) is left alone. */
export function guardHandle(handle: object, owner: HandleOwner): void {
  // A TLS handle is wrapped around the TCP handle that connects.
  const tcp = ((handle as { _parent?: object })._parent ?? handle) as TcpHandle;
  if (typeof tcp.connect6 === "function" && !Object.hasOwn(tcp, "connect6")) new GuardedHandle(tcp, owner);
}

class GuardedHandle {
  readonly #tcp: TcpHandle;
  readonly #owner: HandleOwner;
  /** The socket on the handle's descriptor, ours to set options on until connect(2) is under way. */
  #socket: TcpSocket | null = null;

  constructor(tcp: TcpHandle, owner: HandleOwner) {
    this.#tcp = tcp;
    this.#owner = owner;
    const { bind, bind6, connect, connect6, close } = tcp;
    tcp.bind = (host, port, ...rest) => this.#bind(4, port, () => bind.call(tcp, host, port, ...rest));
    tcp.bind6 = (host, port, ...rest) => this.#bind(6, port, () => bind6.call(tcp, host, port, ...rest));
    tcp.connect = (request, host, port) =>
      this.#connect(4, host, port, request, () => connect.call(tcp, request, host, port));
    tcp.connect6 = (request, host, port) =>
      this.#connect(6, host, port, request, () => connect6.call(tcp, request, host, port));
    tcp.close = (done) => {
      this.#handOver();
      close.call(tcp, done);
    };
  }

  /** bind(2). Late where it may be: the port is then picked by connect(2), from the range set for it. */
  #bind(family: 4 | 6, port: number, bind: () => number): number {
    const { guard, options } = this.#owner.options;
    const isLate = port === 0 && guard === "prevent" && this.#isAble("bindAddressNoPort");
    return this.#ask(() => {
      if (isLate || options) this.#open(family, { ...(isLate && { bindAddressNoPort: true }), ...options });
      return bind();
    });
  }

  #connect(
    family: 4 | 6,
    host: string,
    port: number,
    request: ConnectRequest,
    connect: () => number,
  ): number {
    const { guard, options } = this.#owner.options;
    if (guard === "off" && !options) return connect();
    const peer = toAddress(host, port);
    const startedAt = performance.now();
    return this.#ask(() => {
      const local = this.#tcp.fd >= 0 ? this.#local() : null;
      if (guard !== "off" && local && wouldSelfConnect(local, peer, isKnownOwn(peer))) {
        this.#owner.rejected({ outcome: "self-connect", peer, local, elapsedMs: 0 }, false);
        return REFUSED;
      }
      const ranges = this.#ranges(peer, local);
      if (ranges.length > 0 || options) this.#open(family, { ...options });
      if (guard !== "off") this.#watch(request, peer, startedAt);
      const answer = this.#connectFrom(ranges, connect);
      this.#handOver();
      if (answer < 0)
        this.#told({ outcome: errnoName(answer), peer, elapsedMs: performance.now() - startedAt });
      return answer;
    });
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

  /** The ranges that prevent; none where the port is fixed, or the descriptor is somebody else's. */
  #ranges(peer: Address, local: Address | null): readonly PortRange[] {
    const { options, native } = this.#owner;
    const isOthers = this.#tcp.fd >= 0 && !this.#socket;
    if (!native || isOthers || (local && local.port !== 0)) return [];
    return preventiveRanges(peer, options.guard ?? "prevent", native, options.options?.localPortRange);
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
  #watch(request: ConnectRequest, peer: Address, startedAt: number): void {
    const { oncomplete } = request;
    const self = this;
    request.oncomplete = function (this: ConnectRequest, status, handle, sameRequest, ...rest) {
      const elapsedMs = performance.now() - startedAt;
      const local = status === 0 ? self.#local() : null;
      if (local && self.#isSelfConnected(local, peer)) {
        self.#reset();
        self.#owner.rejected({ outcome: "self-connect", peer, local, elapsedMs }, true);
        oncomplete.call(this, REFUSED, handle, sameRequest, false, false);
        return;
      }
      const outcome = status === 0 ? "connected" : errnoName(status);
      self.#told({ outcome, peer, ...(local && { local }), elapsedMs });
      oncomplete.call(this, status, handle, sameRequest, ...rest);
    };
  }

  #told(attempt: Attempt): void {
    this.#owner.attempted(attempt);
  }

  #local(): Address | null {
    return nameOf((into) => this.#tcp.getsockname(into));
  }

  /** getpeername(2) only where the ports are equal: nearly every connect is cleared by getsockname(2) alone. */
  #isSelfConnected(local: Address, asked: Address): boolean {
    if (local.port !== asked.port) return false;
    const peer = nameOf((into) => this.#tcp.getpeername(into));
    return peer !== null && isSelfConnect(local, peer);
  }

  /** RST now, so that the port is free at once; Node's own close, which may come later, waits for it. */
  #reset(): void {
    let isClosed = false;
    const waiting: (() => void)[] = [];
    this.#tcp.reset(() => {
      isClosed = true;
      for (const done of waiting) done();
    });
    this.#tcp.close = (done = () => {}) => {
      if (isClosed) queueMicrotask(done);
      else waiting.push(done);
    };
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

function nameOf(ask: (into: Partial<NodeAddress>) => number): Address | null {
  const name: Partial<NodeAddress> = {};
  if (ask(name) < 0 || name.address === undefined || name.port === undefined) return null;
  return toAddress(name.address, name.port);
}
