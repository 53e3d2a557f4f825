/** connectMany(): guarded connects to any number of addresses, many at a time: for scanners and pools. */
import { onAbort } from "../socket/abort.ts";
import type { Address, LocalAddress } from "../socket/address.ts";
import { checkLocalAddress, describeFamilies } from "../socket/address.ts";
import { IN_PROGRESS } from "../socket/connecting.ts";
import type { ErrnoName, Outcome } from "../socket/errors.ts";
import { errnoName, findFix, SocketError, threadError } from "../socket/errors.ts";
import { checkLimits } from "../socket/limits.ts";
import { invalidArgument, textOf } from "../socket/misuse.ts";
import type { Handle, Native } from "../socket/native.ts";
import { loadNative } from "../socket/native.ts";
import { writeOptions } from "../socket/option-access.ts";
import type { PortRange } from "../socket/port-range.ts";
import { watchWritable, yieldToLoop } from "../socket/reactor.ts";
import type { RouteOrigin } from "../socket/route.ts";
import { wouldSelfConnect } from "../socket/self-connect.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { AddressSource, Found } from "./address-input.ts";
import { AddressInput } from "./address-input.ts";
import { countOutcome, hasAttemptSubscribers, publishAttempt, publishRejected } from "./channels.ts";
import { BATCH, ConnectBatch, JOINED } from "./connect-batch.ts";
import type { Guard, GuardOptions } from "./guard.ts";
import { checkConnectOptions } from "./guard-options.ts";
import { Pace } from "./pace.ts";
import { isCachedRoutedBack, isOptionSupported, preventiveRanges } from "./prevention.ts";

/** The options of connectMany(). */
export interface ConnectManyOptions extends GuardOptions {
  /**
   * At most this many sockets that connect, or that have ended and were not yet taken by the reader; Infinity for no
   * bound. Default 256.
   */
  readonly concurrency?: number;
  /** At most this many connects in a second; Infinity for no bound. Default 1000. */
  readonly perSecond?: number;
  /** Milliseconds for each connect; the outcome is then "deadline". Default: until the kernel gives up (ETIMEDOUT). */
  readonly deadlineMs?: number;
  /** bind(2) every socket to this address first. With port 0 connect(2) picks the port. */
  readonly local?: LocalAddress;
  /** Ends the iteration when it aborts: it then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** How the connect to one address ended. */
export interface ConnectResult {
  /** The address of the input that was connected to. */
  readonly address: Address;
  /** "connected", "self-connect" (the guard refused or reset it), "deadline" or an errno name. */
  readonly outcome: Outcome;
  /** Connected, and not to itself; the reader closes it. Absent unless the outcome is "connected". */
  readonly socket?: TcpSocket;
  /** getsockname(2) of a socket that connected, to another or to itself. */
  readonly local?: Address;
  /**
   * What to do about an errno whose name does not show it (EADDRNOTAVAIL, ENETUNREACH, EACCES, EPERM): the end of a
   * SocketError's message.
   */
  readonly fix?: string;
  /** Milliseconds from the connect(2) to its end. */
  readonly elapsedMs: number;
}

/** One connect, from its address to its result. */
interface Entry extends Found {
  readonly handle: Handle;
  /** Whether the socket was refused by another address before. */
  readonly isUsed: boolean;
  /** Whether an IP_LOCAL_PORT_RANGE that prevents a self-connect is set. */
  readonly hasRange: boolean;
  startedAt: number;
  endWatch: (() => void) | null;
}

/** A socket after ECONNREFUSED: Linux lets it connect again, for half of what a new socket costs. */
type Spare = Pick<Entry, "handle" | "hasRange">;

const DEFAULT_CONCURRENCY = 256;
const DEFAULT_PER_SECOND = 1000;
const NAMES = ["concurrency", "perSecond", "deadlineMs", "local", "signal", "guard", "options"];
/** Returned by kernels that let no socket connect again: gVisor's, or one that pretends to be Linux. */
const NOT_REUSABLE: ReadonlySet<string> = new Set(["ECONNABORTED", "EINVAL", "EAFNOSUPPORT", "EISCONN"]);
/** The namespace's own range. */
const OWN_RANGE: PortRange = { low: 0, high: 0 };
const NO_RANGES: readonly PortRange[] = [];

/**
 * connect(2), guarded, to each address once, many at a time; yields each result when its connect has ended. A name is
 * no address: resolve it first. Addresses are taken from the iterable when there is room, so it may be endless; what
 * grows is the memory of the addresses seen, about 16 bytes for each (IPv6: 80). A result that the reader has not
 * taken counts as a connect, so that a slow reader slows the connects. Leaving the loop, or an abort, resets every
 * socket that was not yielded, and return() does not wait for the source. A self-connect is not tried again. Throws
 * what the iterable throws, ERR_INVALID_ADDRESS or ERR_INVALID_PORT for a wrong address, SocketError EMFILE when there
 * is no descriptor for the next socket, and SocketError of bind(2). Wrong options throw at once, a misspelt one
 * ERR_UNKNOWN_OPTION.
 */
export function connectMany(
  addresses: AddressSource,
  options: ConnectManyOptions = {},
): AsyncGenerator<ConnectResult, void, void> {
  return new Connects(addresses, options).iterate();
}

/** One call of connectMany(). */
class Connects {
  readonly #native: Native = loadNative();
  readonly #options: ConnectManyOptions;
  readonly #guard: Guard;
  readonly #local: Address | undefined;
  readonly #route: RouteOrigin;
  readonly #concurrency: number;
  readonly #pace: Pace;
  readonly #input: AddressInput;
  readonly #batch: ConnectBatch;
  readonly #connecting = new Set<Entry>();
  readonly #results: ConnectResult[] = [];
  readonly #spares: Readonly<Record<4 | 6, Spare[]>> = { 4: [], 6: [] };
  /** Whether a refused socket connects again, as far as is known. */
  #isReusable = process.platform === "linux";
  #paceTimer: NodeJS.Timeout | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #wake: (() => void) | undefined;
  /** Once set, nothing more is connected: the reader has left, or gets the error. */
  #end: "left" | { readonly error: unknown } | undefined;

  constructor(addresses: AddressSource, options: ConnectManyOptions) {
    checkLimits("connectMany()", options, NAMES);
    const { concurrency = DEFAULT_CONCURRENCY, perSecond = DEFAULT_PER_SECOND } = options;
    const isCount = Number.isInteger(concurrency) || concurrency === Infinity;
    if (!isCount || concurrency < 1)
      throw outOfRange(`concurrency ${textOf(concurrency)} is not a count: use 1 or more`);
    if (!(typeof perSecond === "number" && perSecond > 0))
      throw outOfRange(`perSecond ${textOf(perSecond)} is not a pace: use a number above 0`);
    this.#guard = checkConnectOptions("connectMany()", options).guard!;
    this.#local = options.local === undefined ? undefined : checkLocalAddress(options.local);
    this.#route = { local: this.#local, options: options.options };
    this.#concurrency = concurrency;
    this.#pace = new Pace(perSecond);
    this.#options = options;
    this.#batch = new ConnectBatch(this.#native);
    this.#input = new AddressInput(addresses, this.#native, () => this.#proceed());
  }

  /** A generator's own return() would wait until the source replies, if the reader waits for it. */
  iterate(): AsyncGenerator<ConnectResult, void, void> {
    const results = this.#yieldResults();
    const end = results.return.bind(results);
    return Object.assign(results, {
      return: () => {
        this.#close("left");
        this.#wake?.();
        return end();
      },
    });
  }

  async *#yieldResults(): AsyncGenerator<ConnectResult, void, void> {
    const { signal } = this.#options;
    const removeAbort = onAbort(signal, () => {
      this.#close({ error: signal!.reason });
      this.#wake?.();
    });
    try {
      signal?.throwIfAborted();
      for (;;) {
        for (let next = this.#results.shift(); next; next = this.#results.shift()) yield next;
        if (this.#end === "left") return;
        if (this.#end) throw this.#end.error;
        const isMore = this.#fill();
        if (isMore || this.#results.length > 0) await yieldToLoop();
        else if (this.#end) continue;
        else if (this.#input.isEnded && this.#connecting.size === 0) return;
        else await this.#event();
      }
    } finally {
      removeAbort();
      this.#close("left");
    }
  }

  async #event(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  /** Something has ended or is due: goes on, also while the reader is busy, and wakes the reader. */
  #proceed(): void {
    this.#fill();
    this.#wake?.();
  }

  /** Makes a batch of connects at most. Returns whether another may be made at once. */
  #fill(): boolean {
    try {
      return this.#end === undefined && this.#connectBatch();
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  /** Results that there are already still reach the reader before the error does. */
  #fail(error: unknown): void {
    this.#end ??= { error };
  }

  #connectBatch(): boolean {
    const held = this.#connecting.size + this.#results.length;
    const room = this.#results.length < BATCH ? Math.min(BATCH, this.#concurrency - held) : 0;
    if (room <= 0) return false;
    const isMore = this.#input.pull(room);
    const due = Math.min(room, this.#pace.due());
    if (due === 0) this.#awaitPace();
    if (due === 0 || this.#input.waiting.length === 0) return isMore;
    this.#connect(this.#input.waiting.splice(0, due));
    return true;
  }

  #awaitPace(): void {
    this.#paceTimer ??= setTimeout(() => {
      this.#paceTimer = undefined;
      this.#proceed();
    }, this.#pace.waitMs());
  }

  #connect(found: readonly Found[]): void {
    this.#pace.take(found.length);
    const entries: Entry[] = [];
    try {
      for (const one of found) {
        if (this.#isFixedToPeer(one.address)) this.#reject(one.address, this.#local!, 0, false);
        else entries.push(this.#prepare(one));
      }
    } catch (error) {
      this.#batch.clear();
      for (const { handle } of entries) this.#native.close(handle);
      throw error;
    }
    if (entries.length > 0) this.#run(entries);
  }

  #run(entries: readonly Entry[]): void {
    let startedAt = performance.now();
    const made = this.#batch.run();
    if (made < 0) {
      const fix = "no descriptor for the next socket: lower concurrency, close sockets, or raise ulimit -n";
      throw new SocketError(made, { syscall: "socket", fix });
    }
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!;
      entry.startedAt = startedAt;
      startedAt += this.#batch.elapsedMs(i);
      if (i < made) this.#settle(entry, i, this.#batch.elapsedMs(i));
      else this.#tryAgain(entry);
    }
  }

  /** Adds the connect to the batch: of a spare socket or of a new one. */
  #prepare({ address, bytes }: Found): Entry {
    const asked = this.#options.options?.localPortRange;
    const isFixed = this.#local !== undefined && this.#local.port !== 0;
    const ranges = isFixed ? NO_RANGES : preventiveRanges(address, this.#guard, this.#route);
    const family = this.#local?.family ?? address.family;
    const spare = this.#spares[family].pop();
    const handle = spare?.handle ?? this.#open(family);
    const isRestored = ranges.length === 0 && spare?.hasRange === true;
    this.#batch.add(handle, bytes, isRestored ? [asked ?? OWN_RANGE] : ranges);
    const hasRange = ranges.length > 0;
    return { address, bytes, handle, isUsed: spare !== undefined, hasRange, startedAt: 0, endWatch: null };
  }

  /** A handle; with its socket only where that needs options or bind(2), for the batch opens a plain one faster. */
  #open(family: 4 | 6): Handle {
    const handle = this.#native.handle();
    const { options } = this.#options;
    if (!options && !this.#local) return handle;
    const result = this.#native.socket(handle, family, 0);
    if (result < 0) throw new SocketError(result, { syscall: "socket" });
    const socket = TcpSocket.adopt(handle);
    try {
      const isLate = this.#local?.port === 0 && isOptionSupported("bindAddressNoPort");
      const all = { ...(isLate && { bindAddressNoPort: true }), ...options };
      writeOptions(this.#native, all, (row, from) => this.#native.setsockopt(handle, row, from));
      if (this.#local) socket.bind(this.#local);
    } catch (error) {
      socket.close();
      throw error;
    }
    return handle;
  }

  /** Takes the result of a connect that the batch made. */
  #settle(entry: Entry, index: number, elapsedMs: number): void {
    const result = this.#batch.result(index);
    if (result === IN_PROGRESS) {
      this.#watch(entry);
      return;
    }
    this.#connecting.delete(entry);
    const { address, handle } = entry;
    if (result < 0) this.#refuse(entry, errnoName(result), elapsedMs);
    else if (result === JOINED && this.#guard !== "off") {
      const local = this.#batch.local(index);
      this.#native.reset(handle);
      this.#reject(address, local, elapsedMs, true);
    } else {
      const local = this.#batch.local(index);
      const socket = TcpSocket.adopt(handle, result !== JOINED);
      this.#report({ address, outcome: "connected", socket, local, elapsedMs });
    }
  }

  #watch(entry: Entry): void {
    this.#connecting.add(entry);
    const watch = watchWritable(this.#native, entry.handle, () => this.#check(entry));
    if (typeof watch === "number") this.#fail(threadError(watch, "epoll_ctl"));
    else entry.endWatch = watch;
    this.#awaitDeadline();
  }

  /** The poller reports that the connect has ended: a second connect(2) returns how. */
  #check(entry: Entry): void {
    entry.endWatch?.();
    this.#batch.add(entry.handle, entry.bytes, NO_RANGES);
    this.#batch.run();
    this.#settle(entry, 0, performance.now() - entry.startedAt);
    this.#proceed();
  }

  /** One timer for the connect that began first: all have the same time. */
  #awaitDeadline(): void {
    const { deadlineMs } = this.#options;
    const first = this.#connecting.values().next().value;
    if (deadlineMs === undefined || !first) return;
    const leftMs = Math.max(1, Math.ceil(first.startedAt + deadlineMs - performance.now()));
    this.#deadlineTimer ??= setTimeout(() => {
      this.#deadlineTimer = undefined;
      this.#expire(performance.now() - deadlineMs);
      this.#awaitDeadline();
      this.#proceed();
    }, leftMs);
  }

  #expire(startedBefore: number): void {
    for (const entry of this.#connecting) {
      if (entry.startedAt > startedBefore) return;
      this.#drop(entry);
      const elapsedMs = performance.now() - entry.startedAt;
      this.#report({ address: entry.address, outcome: "deadline", elapsedMs });
    }
  }

  /** By RST: it may have connected in this moment, and to itself. */
  #drop(entry: Entry): void {
    this.#connecting.delete(entry);
    entry.endWatch?.();
    this.#native.reset(entry.handle);
  }

  #refuse(entry: Entry, outcome: ErrnoName, elapsedMs: number): void {
    const { address, handle } = entry;
    if (entry.isUsed && NOT_REUSABLE.has(outcome)) {
      this.#isReusable = false;
      this.#tryAgain(entry);
      return;
    }
    const spares = this.#spares[this.#local?.family ?? address.family];
    const isSpare = outcome === "ECONNREFUSED" && this.#isReusable && spares.length < BATCH;
    if (isSpare) spares.push(entry);
    else this.#native.close(handle);
    const fix = (this.#local && describeFamilies(this.#local, address)) ?? findFix("connect", outcome);
    this.#report({ address, outcome, ...(fix && { fix }), elapsedMs });
  }

  /** With a new socket. */
  #tryAgain({ address, bytes, handle }: Entry): void {
    this.#native.close(handle);
    this.#input.waiting.unshift({ address, bytes });
  }

  /** Whether the local port is fixed to the peer's: that connect can only end in a self-connect. */
  #isFixedToPeer(peer: Address): boolean {
    if (this.#guard === "off" || !this.#local?.port) return false;
    return wouldSelfConnect(this.#local, peer, isCachedRoutedBack(peer, this.#route) === true);
  }

  #reject(address: Address, local: Address, elapsedMs: number, wasConnected: boolean): void {
    this.#report({ address, outcome: "self-connect", local, elapsedMs });
    publishRejected({ outcome: "self-connect", peer: address, local, elapsedMs }, wasConnected);
  }

  #report(result: ConnectResult): void {
    this.#results.push(result);
    const { address: peer, outcome, local, elapsedMs } = result;
    if (hasAttemptSubscribers()) publishAttempt({ outcome, peer, ...(local && { local }), elapsedMs });
    else countOutcome(outcome);
  }

  /** Ends everything that the reader does not have. */
  #close(end: "left" | { readonly error: unknown }): void {
    this.#end = end;
    clearTimeout(this.#paceTimer);
    clearTimeout(this.#deadlineTimer);
    for (const entry of this.#connecting) this.#drop(entry);
    for (const { socket } of this.#results.splice(0)) socket?.reset();
    for (const family of [4, 6] as const) {
      for (const { handle } of this.#spares[family].splice(0)) this.#native.close(handle);
    }
    this.#input.close();
  }
}

function outOfRange(message: string): Error {
  return invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
}
