/** The addon, loaded once, and its interface. */

import { requireAddon } from "./addon.ts";
import type { Strategy } from "./strategy.ts";
import type { TcpState } from "./tcp-state.ts";

/** An opaque, type-tagged owner of one fd; empty until a call puts a socket into it. */
export type Handle = object & { readonly handle: unique symbol };

/** A flag that crosses the boundary. */
export type Flag = 0 | 1;

/** The shape of an option's value; see enum class Kind in native/core/option.h. */
export type OptionKind =
  | "flag"
  | "integer"
  | "unsigned64"
  | "rate"
  | "seconds"
  | "range"
  | "word"
  | "text"
  | "bytes"
  | "address"
  | "signature"
  | "program"
  | "structure";

/** One row of the option table in native/core/option.cc. */
export interface OptionRow {
  /** Its name here: a key of SocketOptions. */
  readonly name: string;
  /** The name of the option in the kernel's headers: "TCP_NODELAY". */
  readonly constant: string;
  /** What a value is: a flag, an integer, a word, a structure … */
  readonly kind: OptionKind;
  /** Whether the headers of this build know the constant. */
  readonly inBuild: boolean;
  /** Whether only sockets of IPv6 have it. */
  readonly ipv6Only: boolean;
  /** What the kernel lets a program do with it. */
  readonly access: "read-write" | "read-only" | "write-only";
  /** The first Linux release that has it. */
  readonly since: string;
  /** The page of the manual that describes it: "tcp(7)". */
  readonly manual: string;
  /** The capability needed to set it, or "". */
  readonly capability: string;
  /** The range of an integer; outside it is ERR_OPTION_VALUE. */
  readonly low: number;
  /** The greatest value of an integer. */
  readonly high: number;
  /** What a word can be, and the fields of a structure; empty for other kinds. */
  readonly words: readonly string[];
  /** The names of the fields of a structure; empty for other kinds. */
  readonly fields: readonly string[];
  /** A value that a test sets, and what the kernel then returns. */
  readonly sample: bigint | string;
  /** What the kernel returns after `sample` was set. */
  readonly readsBack: bigint | string;
  /** What to know before using it, or "". */
  readonly caveat: string;
}

/**
 * The addon's exports. Every call except handle() returns an integer (its return type in C++): 0 or more is success,
 * negative is -errno; larger results go into memory that the caller passes. Addresses are the 24 bytes of
 * address.ts. A wrong argument throws a TypeError that names it.
 */
export interface Native {
  handle(): Handle;
  fd(socket: Handle): number;
  /** `mptcp` is 0 or 1: IPPROTO_TCP or IPPROTO_MPTCP. */
  socket(socket: Handle, family: number, mptcp: number): number;
  /** A UDP socket, whose connect(2) sends nothing. */
  datagramSocket(socket: Handle, family: number): number;
  /** connect(2) of a UDP socket, then getsockname(2). */
  sourceAddress(socket: Handle, peer: Uint8Array, source: Uint8Array): number;
  bind(socket: Handle, local: Uint8Array): number;
  /** 0 when connected, 1 while in progress. */
  connect(socket: Handle, peer: Uint8Array): number;
  /**
   * connect(2) on each of the first `count` handles, new or in progress; an empty handle gets a socket first. `peers`
   * and `locals` have 24 bytes for each, `ranges` 21 numbers: how many values of IP_LOCAL_PORT_RANGE to try, and the
   * bounds of ten. Writes to `results` 0 when connected, 1 while in progress, 2 when joined to itself, or -errno; to
   * `elapsed` milliseconds. Returns how many were made, or -errno of socket(2) when it was none.
   */
  connects(
    sockets: readonly Handle[],
    count: number,
    peers: Uint8Array,
    ranges: Uint16Array,
    results: Int32Array,
    locals: Uint8Array,
    elapsed: Float64Array,
  ): number;
  listen(socket: Handle, backlog: number): number;
  accept(listener: Handle, accepted: Handle): number;
  getsockname(socket: Handle, local: Uint8Array): number;
  getpeername(socket: Handle, peer: Uint8Array): number;
  /** 1 when the socket is joined to itself, 0 when it is not; see native/core/joined.h. */
  isJoined(socket: Handle): number;
  getsockopt(socket: Handle, row: number, value: BigInt64Array | Uint8Array): number;
  setsockopt(socket: Handle, row: number, value: BigInt64Array | Uint8Array): number;
  rawGetsockopt(socket: Handle, level: number, name: number, value: Uint8Array): number;
  rawSetsockopt(socket: Handle, level: number, name: number, value: Uint8Array): number;
  /** How a connect(2) stands: 0 to 2 as in connecting.ts, or -errno; see native/core/joined.h. */
  connectProgress(socket: Handle): number;
  takeError(socket: Handle): number;
  /** Puts an fd of unknown origin into the handle; see native/core/foreign.h. -EEXIST when a handle owns it already. */
  inherit(socket: Handle, fd: number): number;
  /** 0 when an fd that somebody else owns is a TCP socket; see native/core/syscall.h. */
  checkTcp(fd: number): number;
  /** getsockopt(2) of an fd that somebody else owns. */
  getsockoptOf(fd: number, row: number, value: BigInt64Array | Uint8Array): number;
  setsockoptOf(fd: number, row: number, value: BigInt64Array | Uint8Array): number;
  /** getsockname(2) of a TCP socket of another process; see native/core/remote.h. */
  localNameOf(pid: number, fd: number, local: Uint8Array): number;
  /** Ends a self-connect of another process by connect(2) with AF_UNSPEC. `identity` is its inode and its cookie. */
  disconnectJoined(pid: number, fd: number, identity: Uint32Array): number;
  socketInNamespace(socket: Handle, family: number, namespaceFd: number, mptcp: number): number;
  /** Empties the handle. Returns a ticket, with which any thread of the process may claim() the socket once. */
  shelve(socket: Handle): number;
  claim(socket: Handle, ticket: number): number;
  shutdown(socket: Handle, how: "read" | "write" | "both"): number;
  send(socket: Handle, bytes: Uint8Array, urgent: Flag): number;
  sendmsg(socket: Handle, buffers: readonly Uint8Array[]): number;
  sendStamped(socket: Handle, buffers: readonly Uint8Array[], sent: Flag, acknowledged: Flag): number;
  recv(socket: Handle, bytes: Uint8Array, peek: Flag, urgent: Flag): number;
  /** Writes the facts of native/core/message.h too, and the address of the host that reported an error. */
  recvmsg(
    socket: Handle,
    bytes: Uint8Array,
    peek: Flag,
    urgent: Flag,
    errorQueue: Flag,
    facts: BigInt64Array,
    offender: Uint8Array,
  ): number;
  setReports(
    socket: Handle,
    errors: Flag,
    received: Flag,
    sent: Flag,
    acknowledged: Flag,
    requested: Flag,
  ): number;
  /** SO_LINGER {1, 0} where the socket is joined to itself: returns 1. See native/core/checked.h. */
  resetAtCloseIfJoined(socket: Handle): number;
  close(socket: Handle): number;
  /** close(2), or a reset where the socket is joined to itself or still connects; see native/core/checked.h. */
  closeChecked(socket: Handle): number;
  reset(socket: Handle): number;
  release(socket: Handle): number;
  /** socket(2), then IP_LOCAL_PORT_RANGE. Returns a plain fd, which the caller gives to its owner at once. */
  socketInRange(family: number, low: number, high: number): number;
  /** Sets IP_LOCAL_PORT_RANGE on an fd that libuv owns. */
  setLocalPortRange(fd: number, low: number, high: number): number;
  /** isJoined() of an fd that libuv owns. */
  isJoinedOf(fd: number): number;
  /** Ends the stream of a joined socket without a FIN; see native/core/checked.h. */
  endJoinedOf(fd: number): number;
  /** getsockname(2) of an fd that libuv owns. Returns the port. */
  localPort(fd: number): number;
  ifNameToIndex(name: string): number;
  ifIndexToName(index: number, name: Uint8Array): number;
  /** How many sockets garbage collection closed because nobody else had. */
  leaks(): number;
  /**
   * Starts the epoll thread. It calls `ready(count)` after it wrote `count` tokens into `tokens`, and `ready(-errno)`
   * when waiting failed; every later watch then fails too. -EAGAIN when no thread can be created.
   */
  reactorStart(ready: (count: number) => void, tokens: Float64Array): number;
  /** Reports the token when the socket is ready, and at each change after that, until unwatch(). */
  watch(socket: Handle, token: number, read: Flag, write: Flag): number;
  /** 1 when a call in one of the directions would not block, even if it would fail; 0 when it would block. */
  poll(socket: Handle, read: Flag, write: Flag): number;
  unwatch(socket: Handle): number;
  /**
   * Makes attempts on a new thread; see native/core/burst.h. After -errno (-EAGAIN: no thread can be created) nothing
   * was started and `done` is not called.
   */
  burst(
    connected: Handle,
    strategy: Strategy,
    peer: Uint8Array,
    attempts: number,
    selfConnects: number,
    sliceMs: number,
    stop: Int32Array,
    ports: Uint16Array | null,
    report: Uint32Array,
    trustsBind: Flag,
    engine: string,
    bindsLate: Flag,
    low: number,
    high: number,
    resetsAll: Flag,
    done: (result: number) => void,
  ): number;
  /** Ends the connect(2) in which a stopped burst waits. Call it until the burst has ended. */
  interruptBursts(): number;
  /**
   * Opens AF_PACKET on an interface for the TCP packets between two ports; see native/core/capture.h. Writes the number
   * of a failed call of `captureCalls` to `failed`.
   */
  captureOpen(
    capture: Handle,
    device: string,
    onePort: number,
    otherPort: number,
    bufferBytes: number,
    failed: Uint32Array,
  ): number;
  /**
   * Reads packets, and writes three words of facts for each: nanoseconds since 1970, bytes captured, bytes on the wire.
   * Returns the number of packets.
   */
  captureRead(capture: Handle, bytes: Uint8Array, facts: BigUint64Array): number;
  /** Writes how many packets passed the filter since the last call, and how many of these were dropped. */
  captureStatistics(capture: Handle, counters: Uint32Array): number;
  /** connect(2) of two sockets at once; writes both results to `results`. -EAGAIN when no thread can be created. */
  meet(
    one: Handle,
    peerOfOne: Uint8Array,
    other: Handle,
    peerOfOther: Uint8Array,
    results: Int32Array,
  ): number;
  /** NETLINK_SOCK_DIAG: writes fixed-size records. Returns how many there are; see native/core/diag.h. */
  diag(
    family: number,
    states: number,
    low: number,
    high: number,
    joinedOnly: number,
    details: number,
    records: Uint8Array,
    namespaceFd: number,
  ): number;
  /**
   * diag() on a new thread, in the network namespace of an fd (-1: this process's), then `done` with its result. After
   * -errno (-EAGAIN: no thread can be created) nothing was started and `done` is not called.
   */
  dump(
    namespaceFd: number,
    family: number,
    states: number,
    low: number,
    high: number,
    joinedOnly: number,
    details: number,
    records: Uint8Array,
    done: (result: number) => void,
  ): number;
  /** Writes the local address that connect(2) to the peer would get, in the network namespace of an fd (-1: ours). */
  routeSource(namespaceFd: number, peer: Uint8Array, local: Uint8Array): number;
  /**
   * Reads a file as a thread of that network namespace sees it: /proc/sys/net. Returns the number of bytes, or writes
   * the number of a failed call of `fileCalls` to `failed`.
   */
  readInNamespace(namespaceFd: number, path: string, bytes: Uint8Array, failed: Uint32Array): number;
  /** SOCK_DESTROY; `identity` is the interface and the two words of the cookie. See native/core/diag.h. */
  destroy(local: Uint8Array, peer: Uint8Array, identity: Uint32Array, namespaceFd: number): number;
  readonly diagRecordBytes: number;
  readonly options: readonly OptionRow[];
  /** The numbers of levels and options by name, for the raw calls. */
  readonly constants: Readonly<Record<string, number>>;
  /** Why an option that the table lacks has no row. */
  readonly otherOptions: Readonly<Record<string, string>>;
  /** The names of the states by the number in tcpi_state; "" for a number without a state. */
  readonly tcpStates: readonly (TcpState | "")[];
  readonly strategies: readonly Strategy[];
  readonly engines: readonly string[];
  /** The system calls that end a burst when they fail, by the number in its report. */
  readonly burstCalls: readonly string[];
  /** The system calls of readInNamespace(), by the number that it writes. */
  readonly fileCalls: readonly string[];
  /** The system calls of captureOpen(), by the number that it writes. */
  readonly captureCalls: readonly string[];
  /** The number of outcome counters in a burst's report. */
  readonly outcomes: number;
  /** The index of the counter of attempts to which the peer did not reply. */
  readonly unanswered: number;
}

let loaded: Native | undefined;

/** Loads the addon, once. Throws ERR_ADDON_MISSING. */
export function loadNative(): Native {
  loaded ??= Object.freeze(requireAddon() as Native);
  return loaded;
}

let failure: Error | undefined;

/** The addon, or null when it cannot be loaded: the guard then only detects self-connects. */
export function nativeOrNull(): Native | null {
  if (failure) return null;
  try {
    return loadNative();
  } catch (error) {
    failure = error as Error;
    return null;
  }
}

/** Why the addon cannot be loaded, as an ERR_ADDON_MISSING with its `cause`; null when it can. */
export function nativeFailure(): Error | null {
  return nativeOrNull() ? null : failure!;
}

/** For tests: loadNative() returns this addon, a stand-in, from now on. Returns a function that undoes it. */
export function replaceNative(native: Native | null): () => void {
  const before = [loaded, failure] as const;
  [loaded, failure] = [native ?? undefined, native ? undefined : new Error("taken away by a test")];
  return () => {
    [loaded, failure] = before;
  };
}
