/** The kernel's answer, SocketError, and policy's verdict, DialError. Programmer errors are in misuse.ts. */
import { getSystemErrorMap, getSystemErrorName } from "node:util";
import type { Address } from "./address.ts";
import { formatAddress } from "./address.ts";

/** The name of an errno as errno(3) has it, such as "ECONNREFUSED"; of one without a name "E" and its number. */
export type ErrnoName = `E${string}`;

/** How one connect(2) ended; `deadline` is one that got no answer in time. */
export type Outcome = "connected" | "self-connect" | "deadline" | ErrnoName;

/** How many attempts had each outcome; one that none had is absent. */
export type OutcomeCounts = {
  connected?: number;
  "self-connect"?: number;
  deadline?: number;
  [errno: ErrnoName]: number;
};

/** The name of the errno in a negative native result: -111 is "ECONNREFUSED". */
export function errnoName(result: number): ErrnoName {
  const name = getSystemErrorName(result);
  // libuv does not know all of them, and then makes a sentence.
  return isErrnoName(name) ? name : `E${-result}`;
}

function isErrnoName(text: string): text is ErrnoName {
  return /^E\w+$/.test(text);
}

function errnoText(result: number): string {
  return getSystemErrorMap().get(result)?.[1] ?? "unknown error";
}

/** What a SocketError is about. */
export interface SocketErrorContext {
  readonly syscall: string;
  readonly local?: Address;
  readonly peer?: Address;
  /** What to do about it, where that can be known. */
  readonly mend?: string;
}

/** The kernel's answer: shaped like Node's own system errors, with both addresses. */
export class SocketError extends Error {
  override readonly name = "SocketError";
  /** "ECONNREFUSED". */
  readonly code: ErrnoName;
  /** Negative, as in Node. */
  readonly errno: number;
  /** "connect". */
  readonly syscall: string;
  declare readonly address?: string;
  declare readonly port?: number;
  declare readonly local?: Address;
  declare readonly peer?: Address;

  constructor(errno: number, context: SocketErrorContext) {
    const about = context.peer ?? context.local;
    const where = about ? ` ${formatAddress(about)}` : "";
    const from = context.peer && context.local ? ` - Local (${formatAddress(context.local)})` : "";
    const code = errnoName(errno);
    const mend = context.mend ?? MENDS[code];
    super(`${context.syscall} ${code}${where}${from} (${errnoText(errno)})${mend ? `: ${mend}` : ""}`);
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

/** What to do about answers whose errno alone does not say it. */
const MENDS: Readonly<Record<string, string>> = {
  EMFILE: "this process is at its limit of open files; raise it with ulimit -n, or close some",
  ENFILE: "this host is at its limit of open files; see fs.file-max",
  EADDRNOTAVAIL:
    "the address is not of this host, or no port of the ephemeral range is free towards this peer " +
    "(net.ipv4.ip_local_port_range, IP_LOCAL_PORT_RANGE)",
  EACCES: "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE",
};

/** The error of a native call that starts a thread: EAGAIN is clone(2)'s, any other errno that of `syscall`. */
export function threadError(errno: number, syscall: string): SocketError {
  if (errnoName(errno) !== "EAGAIN") return new SocketError(errno, { syscall });
  const mend = "there is no thread to give; see ulimit -u, ulimit -v and the container's pids limit";
  return new SocketError(errno, { syscall: "clone", mend });
}

/** How one connect(2) inside a dial or a loop ended. */
export interface Attempt {
  readonly outcome: Outcome;
  readonly peer: Address;
  readonly local?: Address;
  readonly elapsedMs: number;
}

/** The guard refused; `deadlineMs` is over; the attempts are spent. */
export type DialErrorCode = "ERR_SELF_CONNECT" | "ERR_DEADLINE" | "ERR_ATTEMPTS";

/** Policy's verdict over one or more attempts. */
export class DialError extends Error {
  override readonly name = "DialError";
  readonly code: DialErrorCode;
  readonly attempts: readonly Attempt[];

  constructor(code: DialErrorCode, message: string, attempts: readonly Attempt[], cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.attempts = attempts;
  }
}
