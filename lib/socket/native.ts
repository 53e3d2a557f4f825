/** The native door: the only file that loads the addon, and the addon's interface in words. */
import { createRequire } from "node:module";
import type { TcpState } from "./tcp-state.ts";

/** An opaque, type-tagged owner of one fd; empty until a call puts a socket into it. */
export type Handle = object & { readonly handle: unique symbol };

/** One row of the option table in native/core/option.cc. */
export interface OptionRow {
  readonly name: string;
  readonly constant: string;
  readonly kind: "flag" | "integer" | "unsigned64" | "seconds" | "range" | "text" | "structure";
  /** Whether the headers of this build know the constant. */
  readonly inBuild: boolean;
  readonly ipv6Only: boolean;
  readonly readOnly: boolean;
  /** The Linux kernel that brought it. */
  readonly since: string;
  readonly manual: string;
  /** What setting it asks for, or "". */
  readonly capability: string;
  readonly sample: bigint | string;
  readonly readsBack: bigint | string;
  readonly caveat: string;
}

/**
 * What the addon exports. Every call but handle() returns an integer, by its type in C++: 0 or more is success,
 * negative is -errno; larger results go into memory that the caller passes. Addresses are the 24 bytes of
 * lib/address.ts. A wrong argument throws a TypeError that names it.
 */
export interface Native {
  handle(): Handle;
  fd(socket: Handle): number;
  socket(socket: Handle, family: number): number;
  bind(socket: Handle, local: Uint8Array): number;
  /** 0 when connected, 1 while in progress. */
  connect(socket: Handle, peer: Uint8Array): number;
  listen(socket: Handle, backlog: number): number;
  accept(listener: Handle, accepted: Handle): number;
  getsockname(socket: Handle, local: Uint8Array): number;
  getpeername(socket: Handle, peer: Uint8Array): number;
  getsockopt(socket: Handle, row: number, value: BigInt64Array | Uint8Array): number;
  setsockopt(socket: Handle, row: number, value: BigInt64Array | Uint8Array): number;
  takeError(socket: Handle): number;
  shutdown(socket: Handle, how: "read" | "write" | "both"): number;
  send(socket: Handle, bytes: Uint8Array): number;
  recv(socket: Handle, bytes: Uint8Array): number;
  close(socket: Handle): number;
  reset(socket: Handle): number;
  release(socket: Handle): number;
  /** socket(2), then IP_LOCAL_PORT_RANGE: a plain fd, which the caller gives to its owner at once. */
  socketInRange(family: number, low: number, high: number): number;
  /** IP_LOCAL_PORT_RANGE of an fd whose owner is somebody else: libuv. */
  setLocalPortRange(fd: number, low: number, high: number): number;
  /** getsockname(2) of such an fd: its port. */
  localPort(fd: number): number;
  ifNameToIndex(name: string): number;
  ifIndexToName(index: number, name: Uint8Array): number;
  /** How many sockets garbage collection had to close. */
  leaks(): number;
  /**
   * Starts the epoll thread; `ready(count)` reports how many tokens were written into `tokens`, `ready(-errno)` that
   * waiting has failed and every later watch will. -EAGAIN when there is no thread to give.
   */
  reactorStart(ready: (count: number) => void, tokens: Float64Array): number;
  watch(socket: Handle, token: number): number;
  unwatch(socket: Handle): number;
  /**
   * Makes attempts on a thread of its own; see native/core/burst.h. When it returns -errno (-EAGAIN: no thread to give)
   * nothing was started and `done` is not called.
   */
  burst(
    connected: Handle,
    strategy: string,
    peer: Uint8Array,
    attempts: number,
    selfConnects: number,
    sliceMs: number,
    stop: Int32Array,
    ports: Uint16Array | null,
    report: Uint32Array,
    done: (result: number) => void,
  ): number;
  /** AF_PACKET on an interface, for the TCP packets between two ports; see native/core/capture.h. */
  captureOpen(
    capture: Handle,
    device: string,
    onePort: number,
    otherPort: number,
    bufferBytes: number,
  ): number;
  /** Three words of facts a packet: nanoseconds since 1970, bytes captured, bytes on the wire. Returns how many. */
  captureRead(capture: Handle, bytes: Uint8Array, facts: BigUint64Array): number;
  /** Passed the filter, and of these dropped, since the last call. */
  captureStatistics(capture: Handle, counters: Uint32Array): number;
  /** connect(2) of two sockets at the same moment; what each said. -EAGAIN when there is no thread to give. */
  meet(
    one: Handle,
    peerOfOne: Uint8Array,
    other: Handle,
    peerOfOther: Uint8Array,
    answers: Int32Array,
  ): number;
  /** NETLINK_SOCK_DIAG: writes fixed-size records, and tells how many there are; see native/core/diag.h. */
  diag(
    family: number,
    states: number,
    low: number,
    high: number,
    joinedOnly: number,
    details: number,
    records: Uint8Array,
  ): number;
  readonly diagRecordBytes: number;
  readonly options: readonly OptionRow[];
  readonly informationFields: readonly string[];
  /** By the number in tcpi_state; "" where there is none. */
  readonly tcpStates: readonly (TcpState | "")[];
  readonly strategies: readonly string[];
  /** How many outcome counters a burst's report has, and which of them counts attempts without an answer. */
  readonly outcomes: number;
  readonly unanswered: number;
}

let loaded: Native | undefined;

/** The addon: built beside the sources, or prebuilt inside the published package. Throws ERR_ADDON_MISSING. */
export function loadNative(): Native {
  loaded ??= Object.freeze(requireAddon());
  return loaded;
}

let tried: Native | null | undefined;

/** The addon, or null where it cannot be had: the guard then detects only. */
export function nativeOrNull(): Native | null {
  if (tried === undefined) {
    try {
      tried = loadNative();
    } catch {
      tried = null;
    }
  }
  return tried;
}

/**
 * For tests: what asks for the addon from now on gets this one, a kernel that the test makes up. Returns a function
 * that takes it back.
 */
export function replaceNative(native: Native | null): () => void {
  const before = [loaded, tried] as const;
  [loaded, tried] = [native ?? undefined, native];
  return () => {
    [loaded, tried] = before;
  };
}

function requireAddon(): Native {
  const require = createRequire(import.meta.url);
  const places = [
    "../../build/Release/selfconnect.node",
    `../../prebuilds/${process.platform}-${process.arch}/selfconnect.node`,
  ];
  const reasons: string[] = [];
  for (const place of places) {
    try {
      return require(place) as Native;
    } catch (error) {
      reasons.push(`${place}: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  const message = `selfconnect has no addon for ${process.platform}-${process.arch} (${reasons.join("; ")})`;
  throw Object.assign(new Error(message), { code: "ERR_ADDON_MISSING" });
}
