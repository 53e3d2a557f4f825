/** Node's own streams under guard: a net.Socket, before it connects, wherever it comes from. */
import net from "node:net";
import { formatAddress } from "../socket/address.ts";
import type { Attempt } from "../socket/errors.ts";
import { DialError } from "../socket/errors.ts";
import { invalidArgument } from "../socket/misuse.ts";
import { loadNative } from "../socket/native.ts";
import type { OptionName } from "../socket/options.ts";
import { encodeOption, optionIndex } from "../socket/options.ts";
import { selfConnectMessage, tellAttempt, tellRejected } from "./channels.ts";
import type { Guard, GuardOptions } from "./guard.ts";
import { checkGuard } from "./guard.ts";
import type { HandleOwner } from "./handle.ts";
import { guardHandle } from "./handle.ts";

const GUARD = Symbol("selfconnect.guard");

/** What Node keeps a stream's handle in: an accessor on net.Socket.prototype, since Node 10. */
const HANDLE = Object.getOwnPropertyDescriptor(net.Socket.prototype, "_handle")!;

/** The one that stands before it on a guarded stream. */
const GUARDED_HANDLE: PropertyDescriptor & ThisType<Guarded> = {
  ...HANDLE,
  set(next: object | null) {
    HANDLE.set!.call(this, next);
    this[GUARD]?.take(next);
  },
};

/**
 * A net.Socket that is guarded from its beginning. A class, and not a stream whose prototype is changed: that costs
 * a connect one part in a hundred more.
 */
export class GuardedSocket extends net.Socket {
  readonly [GUARD]: GuardedStream;

  /** `options` as checkGuardOptions() has seen them. */
  constructor(made: net.SocketConstructorOpts, options: GuardOptions) {
    super(made);
    this[GUARD] = new GuardedStream(this, options);
    this[GUARD].take((this as unknown as Guarded)._handle);
  }
}
Object.defineProperty(GuardedSocket.prototype, "_handle", GUARDED_HANDLE);

const kinds = new WeakMap<object, object>([[net.Socket.prototype, GuardedSocket.prototype]]);

/** What stands between a guarded stream and its class; one for all of a class, which V8 then takes for one kind. */
function guardedKind(prototype: object): object {
  const known = kinds.get(prototype);
  if (known) return known;
  const kind = Object.create(prototype, { _handle: GUARDED_HANDLE });
  kinds.set(prototype, kind);
  return kind;
}

type Guarded = net.Socket & { [GUARD]?: GuardedStream; readonly _handle: object | null };

/**
 * Guards every connect that this stream makes from now on, and gives it back. A connect that would end, or ended,
 * joined to itself is an 'error' with DialError ERR_SELF_CONNECT; 'connect' is not emitted for it. Guarding again
 * changes the options. Without the addon the guard detects, and socket options cannot be had.
 */
export function guardStream<S extends net.Socket>(socket: S, options: GuardOptions = {}): S {
  const checked = checkGuardOptions(options);
  const stream = socket as S & Guarded;
  if (stream[GUARD]) stream[GUARD].options = checked;
  else {
    stream[GUARD] = new GuardedStream(socket, checked);
    Object.setPrototypeOf(stream, guardedKind(Object.getPrototypeOf(stream)));
    stream[GUARD].take(stream._handle);
  }
  return socket;
}

/** Whether guardStream() has been called on this stream. */
export function isGuarded(socket: net.Socket): boolean {
  return GUARD in socket;
}

/**
 * For streams that come out of somebody's hands already connecting: a lookup that answers in the same turn would
 * connect before the guard is there. Let it answer in the next.
 */
export function unhurried<T extends object>(options: T): T {
  const { lookup } = options as { lookup?: net.LookupFunction };
  if (typeof lookup !== "function") return options;
  const later: net.LookupFunction = (host, how, answer) =>
    lookup(host, how, (...values) => process.nextTick(answer, ...values));
  return { ...options, lookup: later };
}

/** Makes guarded streams, not yet connecting, for clients that ask for a factory: pg's `stream`, and the like. */
export function streamFactory(options: GuardOptions = {}): () => net.Socket {
  const checked = checkGuardOptions(options);
  return () => new GuardedSocket({}, checked);
}

const WITHOUT_OPTIONS: Readonly<Record<Guard, GuardOptions>> = {
  prevent: { guard: "prevent" },
  detect: { guard: "detect" },
  off: { guard: "off" },
};

/** Throws ERR_UNKNOWN_GUARD, ERR_UNKNOWN_OPTION, ERR_OPTION_VALUE …, ERR_ADDON_MISSING: at once, not as an 'error'. */
export function checkGuardOptions(options: GuardOptions): GuardOptions {
  const guard = checkGuard(options.guard);
  if (!options.options) return WITHOUT_OPTIONS[guard];
  const { options: rows } = loadNative();
  for (const [name, value] of Object.entries(options.options)) {
    const row = rows[optionIndex(rows, name as OptionName)]!;
    encodeOption(row, value);
    if (!row.inBuild) {
      const message = `${row.name} (${row.constant}) is not supported here: Linux has it since ${row.since}`;
      throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
    }
  }
  return { guard, options: options.options };
}

/** What the connect under way has run into. */
class Troubles {
  readonly attempts: Attempt[] = [];
  rejected: { readonly attempt: Attempt; readonly wasConnected: boolean } | undefined;
  restoreDestroy: (() => void) | undefined;
}

class GuardedStream implements HandleOwner {
  options: GuardOptions;
  readonly #socket: net.Socket;
  /** Made when there are any: every connect pays for this object, and few pay for that one. */
  #met: Troubles | undefined;

  constructor(socket: net.Socket, options: GuardOptions) {
    this.options = options;
    this.#socket = socket;
  }

  /** Node gives a stream one handle after another: for each address that it tries, and for each new connect. */
  take(handle: object | null): void {
    if (handle) guardHandle(handle, this);
    else if (this.#met) this.#met.attempts.length = 0;
  }

  connected(attempt: Attempt | null): void {
    this.#met?.restoreDestroy?.();
    this.#met = undefined;
    if (attempt) tellAttempt(attempt);
  }

  attempted(attempt: Attempt): void {
    this.#troubles().attempts.push(attempt);
    tellAttempt(attempt);
  }

  rejected(attempt: Attempt, wasConnected: boolean): void {
    this.attempted(attempt);
    tellRejected(attempt, wasConnected);
    const troubles = this.#troubles();
    troubles.rejected = { attempt, wasConnected };
    this.#translate((error) => selfConnectError(troubles, error));
  }

  failed(error: unknown): void {
    this.#translate(() => error as Error);
  }

  #troubles(): Troubles {
    this.#met ??= new Troubles();
    return this.#met;
  }

  /** Node is about to destroy the stream with its own error, unless another address connects: give it ours. */
  #translate(translated: (error: Error) => Error): void {
    const troubles = this.#troubles();
    troubles.restoreDestroy?.();
    const socket = this.#socket;
    const own = Object.getOwnPropertyDescriptor(socket, "destroy");
    const { destroy } = socket;
    const restore = () => {
      troubles.restoreDestroy = undefined;
      if (own) Object.defineProperty(socket, "destroy", own);
      else Reflect.deleteProperty(socket, "destroy");
    };
    troubles.restoreDestroy = restore;
    socket.destroy = (error) => {
      restore();
      return destroy.call(socket, error && isOfConnect(error) ? translated(error) : error);
    };
  }
}

function selfConnectError({ attempts, rejected }: Troubles, error: Error): DialError {
  const { attempt, wasConnected } = rejected!;
  const message = selfConnectMessage(formatAddress(attempt.peer), attempts, wasConnected);
  return new DialError("ERR_SELF_CONNECT", message, [...attempts], attempts.length > 1 ? error : undefined);
}

/** Node's errors of a connect: of one address, or of all of them together. An abort or a timeout is none. */
function isOfConnect(error: Error): boolean {
  const { syscall } = error as NodeJS.ErrnoException;
  return syscall === "connect" || syscall === "bind" || error instanceof AggregateError;
}
