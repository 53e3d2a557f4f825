/** SocketError: a system call failed. DialError: the dial or the loop gave up. Programmer errors are in misuse.ts. */
import os from "node:os";
import { getSystemErrorMap, getSystemErrorName } from "node:util";
import type { Address } from "./address.ts";
import { formatAddress } from "./address.ts";
import { invalidArgument, nearest, textOf } from "./misuse.ts";

/** The name of an errno in errno(3), such as "ECONNREFUSED"; an errno without a name is "E" and its number. */
export type ErrnoName = `E${string}`;

/**
 * How one connect(2) ended; `deadline` means that the peer did not reply in time, `abandoned` that another address of
 * the same name connected first.
 */
export type Outcome = "connected" | "self-connect" | "deadline" | "abandoned" | ErrnoName;

/** How many attempts had each outcome; an outcome that did not occur is absent. */
export type OutcomeCounts = {
  /** Connects to another socket: a listener, or a peer that opened simultaneously. */
  connected?: number;
  /** Connects that joined the socket to itself. */
  "self-connect"?: number;
  /** Connects that had no reply when the time was up. */
  deadline?: number;
  [errno: ErrnoName]: number;
};

/** The name of the errno in a negative native result: -111 is "ECONNREFUSED". */
export function errnoName(result: number): ErrnoName {
  const known = names.get(result);
  if (known) return known;
  const text = getSystemErrorName(result);
  // For an errno that libuv does not know (ESTALE), it returns a sentence; Node has the names of the C library too.
  const [other = `E${-result}`] =
    Object.entries(os.constants.errno).find(([, number]) => number === -result) ?? [];
  const name = isErrnoName(text) ? text : (other as ErrnoName);
  names.set(result, name);
  return name;
}

/** Throws ERR_UNKNOWN_ERRNO for a name that no errno of this platform has, with the near miss. */
export function checkErrnoName(name: string): void {
  texts ??= getSystemErrorMap();
  const known = [...texts.values()].map(([each]) => each);
  if (known.includes(name) || /^E\d+$/.test(name)) return;
  const meant = nearest(textOf(name), known);
  const fix = meant ? `did you mean "${meant}"?` : "use a name of errno(3), such as ECONNREFUSED";
  throw invalidArgument("ERR_UNKNOWN_ERRNO", `"${textOf(name)}" is not the name of an errno: ${fix}`);
}

/** Names already looked up: a scan or a reconnect loop asks for the same few, thousands of times in a second. */
const names = new Map<number, ErrnoName>();

/** Node copies its whole table at each call, which took a third of the time of a refused connect. */
let texts: ReadonlyMap<number, [string, string]> | undefined;

/** Whether this is the name of an errno. */
export function isErrnoName(text: string): text is ErrnoName {
  return /^E\w+$/.test(text);
}

function errnoText(result: number): string {
  texts ??= getSystemErrorMap();
  return texts.get(result)?.[1] ?? "unknown error";
}

/** The system call that a SocketError reports, and its addresses. */
export interface SocketErrorContext {
  readonly syscall: string;
  readonly local?: Address;
  readonly peer?: Address;
  /** What the user can do about it; the fix for the errno, if there is one, when absent. */
  readonly fix?: string;
}

/**
 * Node may load two copies of this package. Symbol.for() gives the classes of both one brand, and `instanceof` looks
 * for it. A subclass has no brand, and is recognized by its prototype as usual.
 */
export function brand(Class: new (...values: never[]) => Error, mark: symbol): void {
  Object.defineProperty(Class.prototype, mark, { value: true });
  Object.defineProperty(Class, Symbol.hasInstance, {
    value(this: object, value: unknown): boolean {
      if (this !== Class) return Function.prototype[Symbol.hasInstance].call(this, value);
      return typeof value === "object" && value !== null && mark in value;
    },
  });
}

/**
 * A system call failed: the fields of Node's own system errors, and both addresses. `instanceof SocketError` is true
 * for the errors of another copy of this package too.
 */
export class SocketError extends Error {
  /** "SocketError". */
  override readonly name = "SocketError";
  /** "ECONNREFUSED". */
  readonly code: ErrnoName;
  /** Negative, as in Node. */
  readonly errno: number;
  /** "connect". */
  readonly syscall: string;
  /** The host that the call was about, as in errors of Node; absent when it was about none. */
  declare readonly address?: string;
  /** The port that the call was about, as in errors of Node; absent when it was about none. */
  declare readonly port?: number;
  /** getsockname(2) of the socket, when it was known. */
  declare readonly local?: Address;
  /** The address that was connected to, when there was one. */
  declare readonly peer?: Address;

  constructor(errno: number, context: SocketErrorContext) {
    const about = context.peer ?? context.local;
    const where = about ? ` ${formatAddress(about)}` : "";
    const from = context.peer && context.local ? ` - Local (${formatAddress(context.local)})` : "";
    const code = errnoName(errno);
    const fix = context.fix ?? findFix(context.syscall, code, context.local?.port);
    super(`${context.syscall} ${code}${where}${from} (${errnoText(errno)})${fix ? `: ${fix}` : ""}`);
    this.code = code;
    this.errno = errno;
    this.syscall = context.syscall;
    if (about) {
      this.address = about.host;
      this.port = about.port;
    }
    if (context.local) this.local = context.local;
    if (context.peer) this.peer = context.peer;
  }
}

const PORT_TAKEN =
  "another socket has the port; explainBind() of selfconnect/audit says which, and what to do. A port in TIME-WAIT " +
  "can be bound when both sockets, the old one and this one, have SO_REUSEADDR";
const WRONG_FORM =
  "an IPv6 socket takes an IPv4 address as ::ffff:a.b.c.d, and a link-local one with its scope ([fe80::1%eth0])";

const NO_PEER = "there is no peer: await connected() first, or the connection has ended";
const NO_SENDING =
  "nothing can be sent: await connected() first, or this side has ended by shutdown() or by an error";
const NOT_URGENT =
  "there is no urgent byte, or it was read before, or outOfBandInline puts it among the other bytes";

/** What the user can do about an errno whose name alone does not show it: of one system call, or of any. */
const FIXES: Readonly<Record<string, string>> = {
  EMFILE: "this process is at its limit of open files; raise it with ulimit -n, or close some",
  ENFILE: "this host is at its limit of open files; see fs.file-max",
  EAFNOSUPPORT:
    "the address is not of the socket's family; open the socket with family 4 or 6 as the address has it, or write " +
    "an IPv4 address as ::ffff:a.b.c.d for an IPv6 socket",
  "socket EAFNOSUPPORT": "this host has no such family; see net.ipv6.conf.all.disable_ipv6",
  "bind EADDRINUSE": PORT_TAKEN,
  "bind 0 EADDRINUSE":
    "no port of the ephemeral range is free at this address (net.ipv4.ip_local_port_range, IP_LOCAL_PORT_RANGE). A " +
    "socket that connects needs one towards its peer only: set bindAddressNoPort, and connect(2) picks it",
  "listen EADDRINUSE": PORT_TAKEN,
  "bind EADDRNOTAVAIL": "this host does not have the address; ip address lists those that it has",
  "connect EADDRNOTAVAIL":
    "this host does not have the local address, or no port of the ephemeral range is free towards this peer " +
    "(net.ipv4.ip_local_port_range, IP_LOCAL_PORT_RANGE); exhaustion() of selfconnect/kernel counts them",
  "bind EACCES": "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE",
  "bind EINVAL": `${WRONG_FORM}; and a socket is bound once`,
  "connect EINVAL": WRONG_FORM,
  "getpeername ENOTCONN": NO_PEER,
  "recv ENOTCONN": NO_PEER,
  "recvmsg ENOTCONN": NO_PEER,
  "shutdown ENOTCONN": NO_PEER,
  "connect EACCES": "the peer is a broadcast address, or a firewall or a security module forbids the connect",
  "connect EPERM": "a firewall or a security module forbids the connect",
  "connect ENETUNREACH": "this host has no route to the peer; see ip route get",
  "connect EALREADY": "an earlier connect is in progress; await connected(), or open another socket",
  "connect EISCONN": "a socket that is connected, listens or was accepted cannot connect; open another one",
  "listen EINVAL": "a socket that was connected, or is about to be, cannot listen; open another one",
  "accept EINVAL": "the socket does not listen; call listen() first",
  "send EPIPE": NO_SENDING,
  "sendmsg EPIPE": NO_SENDING,
  "recv EINVAL": NOT_URGENT,
  "recvmsg EINVAL": NOT_URGENT,
  // Of reportMessages(): errors of options have a fix of their own.
  "setsockopt EINVAL":
    "the times of what is sent are reported of a connected socket only; await connected() first",
};

/** What the user can do about an errno of a system call; undefined where its name says enough. */
export function findFix(syscall: string, code: ErrnoName, localPort?: number): string | undefined {
  const isForAnyPort = syscall === "bind" && localPort === 0;
  return (isForAnyPort && FIXES[`bind 0 ${code}`]) || FIXES[`${syscall} ${code}`] || FIXES[code];
}

/** The error of a native call that starts a thread: clone(2) failed with EAGAIN, `syscall` with any other errno. */
export function threadError(errno: number, syscall: string): SocketError {
  if (errnoName(errno) !== "EAGAIN") return new SocketError(errno, { syscall });
  const fix = "no thread can be created; see ulimit -u, ulimit -v and the container's pids limit";
  return new SocketError(errno, { syscall: "clone", fix });
}

/** How one connect(2) inside a dial or a loop ended. */
export interface Attempt {
  /** How it ended. */
  readonly outcome: Outcome;
  /** The address that was connected to. */
  readonly peer: Address;
  /** getsockname(2) after the connect; absent when the socket had no address yet, or it was not asked for. */
  readonly local?: Address;
  /** Milliseconds from the connect(2) to its end. */
  readonly elapsedMs: number;
}

/** In this order: the guard refused a self-connect, `deadlineMs` passed, all attempts failed. */
export type DialErrorCode = "ERR_SELF_CONNECT" | "ERR_DEADLINE" | "ERR_ATTEMPTS";

/**
 * A dial gave up. `attempts` are in order: all, or of more than 20 the first 10 and the last 10; with ERR_ATTEMPTS
 * `cause` is the error of the last one. `instanceof DialError` is true for the errors of another copy of this package
 * too.
 */
export class DialError extends Error {
  /** "DialError". */
  override readonly name = "DialError";
  /** What the verdict is: ERR_SELF_CONNECT, ERR_DEADLINE, ERR_ATTEMPTS. */
  readonly code: DialErrorCode;
  /** The attempts in order; of more than 20 the first 10 and the last 10. */
  readonly attempts: readonly Attempt[];
  /** How many attempts there were. */
  readonly attemptCount: number;

  constructor(
    code: DialErrorCode,
    message: string,
    attempts: readonly Attempt[],
    cause?: unknown,
    attemptCount = attempts.length,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.attempts = attempts;
    this.attemptCount = attemptCount;
  }
}

brand(SocketError, Symbol.for("selfconnect.SocketError"));
brand(DialError, Symbol.for("selfconnect.DialError"));
