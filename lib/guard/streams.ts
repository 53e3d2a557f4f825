/** Guards a net.Socket of Node, whoever created it, before it connects. */
import net from "node:net";
import { formatAddress } from "../socket/address.ts";
import type { Attempt } from "../socket/errors.ts";
import { DialError } from "../socket/errors.ts";
import { checkShape, invalidArgument } from "../socket/misuse.ts";
import type { SocketOptions } from "../socket/options.ts";
import { setStreamOptions } from "../socket/stream-options.ts";
import {
  countAttempts,
  countOutcome,
  publishAttempt,
  publishRejected,
  selfConnectMessage,
} from "./channels.ts";
import { compareAfterConnect } from "./comparison.ts";
import type { GuardOptions } from "./guard.ts";
import { checkOnlyGuardOptions } from "./guard-options.ts";
import type { HandleOwner } from "./handle.ts";
import { guardHandle, hasDescriptor, isPipe, isTcp } from "./handle.ts";

/** The same for every copy of this package in a process: the preload is a build of its own. */
const GUARD = Symbol.for("selfconnect.guard");

/** Node stores a stream's handle through this accessor on net.Socket.prototype, since Node 10. Bun has none. */
const HANDLE = Object.getOwnPropertyDescriptor(net.Socket.prototype, "_handle");

/**
 * The accessor that a guarded stream has of its own. Another prototype, or a class of ours, slows Node's code on
 * streams: with one a request by http took 1.71 of the CPU time of one without the guard, with this 1.29.
 */
const GUARDED_HANDLE: PropertyDescriptor & ThisType<Guarded> = {
  ...HANDLE,
  configurable: true,
  set(next: object | null) {
    HANDLE!.set!.call(this, next);
    this[GUARD]?.take(next);
  },
};

type Guarded = net.Socket & { [GUARD]?: GuardedStream; readonly _handle: object | null };

/**
 * Guards every connect(2) of this stream from now on, and returns the stream. A self-connect, refused or reset, is an
 * 'error' event with SelfConnectRefusal, and never a 'connect' event. A second call replaces the options. `options`
 * are set on each new socket; on a socket that the stream has already (connected, accepted, or a descriptor of yours)
 * at once. Without the addon, and in Bun and Deno, the guard only detects. Throws ERR_UNKNOWN_GUARD for a wrong guard;
 * for `options` it throws ERR_UNKNOWN_OPTION, ERR_OPTION_VALUE, ERR_OPTION_UNSUPPORTED, ERR_NOT_TCP for a Unix domain
 * socket, SocketError when the kernel refuses one, or ERR_ADDON_MISSING without the addon.
 *
 * @example
 * import net from "node:net";
 * import { guardStream } from "selfconnect";
 *
 * const stream = guardStream(new net.Socket(), { options: { userTimeoutMs: 5000 } });
 * stream.on("error", ({ code }) => console.log(code)).connect(50_000, "127.0.0.1"); // ECONNREFUSED
 */
export function guardStream<S extends net.Socket>(socket: S, options: GuardOptions = {}): S {
  const checked = checkOnlyGuardOptions("guardStream()", options);
  checkShape("guardStream() takes a net.Socket", socket, ["connect", "destroy"]);
  return guardChecked(socket, checked);
}

/** guardStream() with what checkGuardOptions() returned. */
export function guardChecked<S extends net.Socket>(socket: S, checked: GuardOptions): S {
  const stream = socket as S & Guarded;
  if (stream[GUARD]) stream[GUARD].options = checked;
  else {
    stream[GUARD] = new GuardedStream(socket, checked);
    if (HANDLE) Object.defineProperty(stream, "_handle", GUARDED_HANDLE);
  }
  if (HANDLE) stream[GUARD].take(stream._handle);
  return socket;
}

/** Whether guardStream() has been called on this stream. */
export function isGuarded(socket: net.Socket): boolean {
  return GUARD in socket;
}

/**
 * Delays a custom `lookup` by one tick. Agents return a stream that is already connecting; a synchronous lookup would
 * connect it before we can guard it.
 */
export function withAsyncLookup<T extends object>(options: T): T {
  const { lookup } = options as { lookup?: net.LookupFunction };
  if (typeof lookup !== "function") return options;
  const later: net.LookupFunction = (host, how, callback) =>
    lookup(host, how, (...values) => process.nextTick(callback, ...values));
  return { ...options, lookup: later };
}

/**
 * Returns a function that creates guarded, unconnected streams: for clients with such an option, as pg's `stream`.
 *
 * @example
 * import { streamFactory } from "selfconnect";
 *
 * const createStream = streamFactory({ guard: "detect" }); // new pg.Client({ stream: createStream })
 * console.log(createStream().connecting); // false
 */
export function streamFactory(options: GuardOptions = {}): () => net.Socket {
  const checked = checkOnlyGuardOptions("streamFactory()", options);
  return () => guardChecked(new net.Socket(), checked);
}

/**
 * What net.connect() would have reported, because nobody listens there: code ECONNREFUSED, so that a client's own
 * policy of retries applies. `cause` is the guard's verdict.
 */
export interface SelfConnectRefusal extends NodeJS.ErrnoException {
  /** Always true: tells it from a refusal of the kernel, which has the same code. */
  readonly isSelfConnect: true;
  /** The verdict of the guard, ERR_SELF_CONNECT, with every attempt. */
  readonly cause: DialError;
}

/** The failures of the current connect. */
class Failures {
  readonly attempts: Attempt[] = [];
  rejected: { readonly attempt: Attempt; readonly wasConnected: boolean } | undefined;
  restoreDestroy: (() => void) | undefined;
}

class GuardedStream implements HandleOwner {
  options: GuardOptions;
  readonly #socket: net.Socket;
  /** Created on the first failure, because most connects have none. */
  #failures: Failures | undefined;
  #isCompared = false;

  constructor(socket: net.Socket, options: GuardOptions) {
    this.options = options;
    this.#socket = socket;
    if (!HANDLE) this.#compare();
  }

  /** Called for each handle that Node gives the stream: one for each address it tries, and for each new connect. */
  take(handle: object | null): void {
    if (handle) {
      if (!guardHandle(handle, this)) this.#compare();
      if (this.options.options) setOptions(this.#socket, handle, this.options.options);
    } else if (this.#failures) this.#failures.attempts.length = 0;
  }

  /** Guards a stream whose handles are of another kind. */
  #compare(): void {
    if (!this.#isCompared) compareAfterConnect(this.#socket, this);
    this.#isCompared = true;
  }

  reportConnect(attempt: Attempt | null): void {
    this.#failures?.restoreDestroy?.();
    this.#failures = undefined;
    if (attempt) publishAttempt(attempt);
    else countOutcome("connected");
  }

  reportAttempt(attempt: Attempt, fix?: string): void {
    const failures = this.#currentFailures();
    failures.attempts.push(attempt);
    publishAttempt(attempt);
    if (fix && !failures.rejected) this.#translate((error) => addFix(error, attempt.outcome, fix));
  }

  reportRejection(attempt: Attempt, wasConnected: boolean): void {
    this.reportAttempt(attempt);
    publishRejected(attempt, wasConnected);
    const failures = this.#currentFailures();
    failures.rejected = { attempt, wasConnected };
    this.#translate((error) => addVerdict(error, failures));
  }

  reportFailure(error: unknown): void {
    this.#translate(() => error as Error);
  }

  #currentFailures(): Failures {
    this.#failures ??= new Failures();
    return this.#failures;
  }

  /** Node is about to destroy the stream with its own error, unless another address connects. Passes ours instead. */
  #translate(translate: (error: Error) => Error): void {
    const failures = this.#currentFailures();
    failures.restoreDestroy?.();
    const socket = this.#socket;
    const own = Object.getOwnPropertyDescriptor(socket, "destroy");
    const { destroy } = socket;
    const restore = () => {
      failures.restoreDestroy = undefined;
      if (own) Object.defineProperty(socket, "destroy", own);
      else Reflect.deleteProperty(socket, "destroy");
    };
    failures.restoreDestroy = restore;
    socket.destroy = (error) => {
      restore();
      return destroy.call(socket, error && isConnectError(error) ? translate(error) : error);
    };
  }
}

/** Adds to the errors with this code what the user can do. One of several addresses has its own error. */
function addFix(error: Error, code: string, fix: string): Error {
  const errors: readonly NodeJS.ErrnoException[] = error instanceof AggregateError ? error.errors : [error];
  for (const each of errors) if (each.code === code) extendMessage(each, `: ${fix}`);
  return error;
}

/** Appends to the message of an error, and to its stack, which has a copy. */
function extendMessage(error: Error, more: string): void {
  const { message, stack } = error;
  error.message = `${message}${more}`;
  if (stack && message) error.stack = stack.replace(message, () => error.message);
}

/** Makes Node's error a SelfConnectRefusal. It stays Node's: a client recognizes it by all that it knows of it. */
function addVerdict(error: Error, { attempts, rejected }: Failures): Error {
  const { attempt, wasConnected } = rejected!;
  const message = selfConnectMessage(formatAddress(attempt.peer), countAttempts(attempts), wasConnected);
  const cause = new DialError("ERR_SELF_CONNECT", message, [...attempts]);
  extendMessage(error, error.message ? ` (${message})` : message);
  // Not enumerable, as Error() defines it.
  Object.defineProperty(error, "cause", { value: cause, writable: true, configurable: true });
  return Object.assign(error, { isSelfConnect: true });
}

/**
 * setsockopt(2) on the socket of a handle that has one already: it is not one that a guarded handle opens. Throws what
 * StreamOptions.set() throws.
 */
function setOptions(stream: net.Socket, handle: object, options: Partial<SocketOptions>): void {
  if (isTcp(handle) && !hasDescriptor(handle)) return;
  if (isPipe(handle)) {
    const message = "`options` are for TCP sockets; this stream is a Unix domain socket";
    throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
  }
  setStreamOptions(stream, options);
}

/** Whether a connect to one address, or to all of them, failed with this error. False for an abort or a timeout. */
function isConnectError(error: Error): boolean {
  const { syscall } = error as NodeJS.ErrnoException;
  return syscall === "connect" || syscall === "bind" || error instanceof AggregateError;
}
