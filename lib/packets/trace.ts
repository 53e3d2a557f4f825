/** Traces one self-connect, or one simultaneous open: its packets, its states, and what the kernel reports of both. */

import type { ReconnectVerdict } from "../loop/reconnect.ts";
import { ReconnectLoop } from "../loop/reconnect.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, formatAddress, unmap } from "../socket/address.ts";
import { SocketError } from "../socket/errors.ts";
import { checkFlags, checkKeys, invalidArgument } from "../socket/misuse.ts";
import type { TcpInformation } from "../socket/option-structures.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import type { CaptureCounts } from "./capture.ts";
import { Capture, LOOPBACK_DEVICE } from "./capture.ts";
import type { Ladder, OwnFrame } from "./ladder.ts";
import { framesBetween, ladderOf } from "./ladder.ts";
import type { Closing } from "./leavings.ts";
import { CLOSINGS, end } from "./leavings.ts";
import type { ReportedState, TracedEnd } from "./lookout.ts";
import { Lookout } from "./lookout.ts";

/** The options of trace(). */
export interface TraceOptions {
  /** An address of this host; for a pair, the address of the first socket. */
  readonly peer: Address | string;
  /** Limits of a loop that waits for a natural self-connect. Without it, bind(2) to the peer's port causes one. */
  readonly natural?: { readonly attempts: number; readonly durationMs: number };
  /** Trace two sockets that connect to each other at the same moment. */
  readonly pair?: boolean;
  /** Bytes to send once connected; a self-connect receives them itself. */
  readonly data?: Uint8Array;
  /** Default "reset", which leaves nothing behind. */
  readonly closing?: Closing;
  /** Milliseconds for each step: to connect, to transfer the data, to close. Default 5,000. */
  readonly stepMs?: number;
  /** Size of the kernel's buffer for captured packets; default 8 MiB. */
  readonly bufferBytes?: number;
  /** Ends the attempts when it aborts; the verdict is then "interrupted". */
  readonly signal?: AbortSignal;
}

const OPTION_KEYS = ["peer", "natural", "pair", "data", "closing", "stepMs", "bufferBytes", "signal"];

/** How packets were captured, and how many. */
export interface CaptureSummary extends CaptureCounts {
  /** The interface: "lo". */
  readonly device: string;
  /** The filter, in the syntax of pcap-filter(7). */
  readonly filter: string;
  /** Loopback passes each packet twice; this copy is kept. "all": the packets of a capture file, whatever they are. */
  readonly keptCopy: "outgoing" | "all";
}

/**
 * `self-connect` and `simultaneous-open` (of a pair) are the expected ones; `connected`: a listener accepted the
 * connect; `attempts-spent`, `deadline` and `interrupted`: nothing connected.
 */
export type TraceVerdict = ReconnectVerdict | "simultaneous-open";

/** The packets and states of one self-connect or one pair. */
export interface Trace {
  /** How the attempts ended. */
  readonly verdict: TraceVerdict;
  /** Whether two sockets opened to each other, and not one to itself. */
  readonly isPair: boolean;
  /** How many attempts it took. */
  readonly attempts: number;
  /** How the socket was closed. */
  readonly closing: Closing;
  /** The packets with states and reasons. */
  readonly ladder: Ladder;
  /** The captured packets themselves, for pcapng(). */
  readonly frames: readonly OwnFrame[];
  /** null where packets could not be captured; `whyNoCapture` has the reason. */
  readonly capture: CaptureSummary | null;
  /** Why packets could not be captured: EPERM without CAP_NET_RAW; null where they were. */
  readonly whyNoCapture: string | null;
  /** The states that the kernel reported, each once. */
  readonly samples: readonly ReportedState[];
  /**
   * Whether the states that the kernel reported are on the path that the packets imply, in order and with the same end;
   * null when packets are missing.
   */
  readonly agrees: boolean | null;
  /** TCP_INFO of each socket, before it was closed. */
  readonly information: readonly TcpInformation[];
  /** The data that was received. */
  readonly received: Uint8Array;
}

const STEP_MS = 5000;
const MEETINGS = 1000;
const RESTING: readonly TcpState[] = ["CLOSED", "TIME-WAIT"];

/**
 * bind(2), connect(2) and packet(7): makes a self-connect, or a pair, and records its packets and states. Without
 * CAP_NET_RAW, or on other kernels than Linux, it records the states only. Throws SocketError EADDRINUSE while a socket
 * on the port is in TIME-WAIT.
 *
 * @example
 * import { trace } from "selfconnect/packets";
 * import { ladderSvg } from "selfconnect/report";
 *
 * const { verdict, ladder } = await trace({ peer: "127.0.0.1:50000" });
 * console.log(verdict, ladder.rows.length, ladderSvg(ladder).startsWith("<svg")); // self-connect 3 true
 */
export async function trace(options: TraceOptions): Promise<Trace> {
  checkKeys("trace()", options, OPTION_KEYS);
  checkFlags(options, ["pair"]);
  const peer = checkAddress(options.peer);
  const { closing } = options;
  if (closing !== undefined && !(CLOSINGS as readonly string[]).includes(closing)) {
    throw invalidArgument("ERR_UNKNOWN_CLOSING", `closing "${closing}" is none of ${CLOSINGS.join(", ")}`);
  }
  return options.pair ? tracePair(peer, options) : traceSelfConnect(peer, options);
}

async function traceSelfConnect(peer: Address, options: TraceOptions): Promise<Trace> {
  const recorder = new Recorder([peer.port, peer.port], options);
  try {
    const found = options.natural ? await awaitNatural(peer, options) : bindSocket(peer);
    const { socket, attempts, verdict } =
      found instanceof TcpSocket ? { socket: found, attempts: 1, verdict: "self-connect" as const } : found;
    if (!socket) return recorder.trace(verdict, attempts, [peer]);
    recorder.own([socket]);
    if (!options.natural) socket.connect(socket.getsockname());
    const local = socket.getsockname();
    return await recorder.record([{ socket, local, peer: local }], attempts, verdict);
  } finally {
    recorder.close();
  }
}

async function tracePair(one: Address, options: TraceOptions): Promise<Trace> {
  const other = findFreeAddress(one);
  const recorder = new Recorder([one.port, other.port], options);
  let attempts = 0;
  try {
    while (attempts < MEETINGS && !options.signal?.aborted) {
      attempts++;
      recorder.lookout.forget();
      const sockets = bindPair(one, other);
      recorder.own(sockets);
      if (await meet(sockets, options))
        return await recorder.record(endsOf(sockets), attempts, "simultaneous-open");
      for (const socket of sockets) socket.reset();
    }
    const verdict = options.signal?.aborted ? "interrupted" : "attempts-spent";
    return recorder.trace(verdict, attempts, [one, other]);
  } finally {
    recorder.close();
  }
}

/** Records a connection and builds the Trace. */
class Recorder {
  readonly lookout: Lookout;
  readonly #options: TraceOptions;
  readonly #ports: readonly [number, number];
  readonly #capture: Capture | null;
  #whyNoCapture: string | null = null;
  #information: TcpInformation[] = [];
  #received = new Uint8Array(0);
  #sockets: readonly TcpSocket[] = [];

  constructor(ports: readonly [number, number], options: TraceOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#capture = this.#tryCapture();
    this.lookout = new Lookout(this.#capture);
  }

  /** Takes ownership of the sockets: close() resets them. */
  own(sockets: readonly TcpSocket[]): void {
    this.#sockets = sockets;
  }

  /** Waits for the connection, transfers the data, closes, and waits for the last packets. Call it after connect(2). */
  async record(ends: readonly TracedEnd[], attempts: number, verdict: TraceVerdict): Promise<Trace> {
    this.lookout.begin(ends);
    const addresses = ends.map(({ local }) => local);
    const { closing = "reset", data, stepMs = STEP_MS, signal } = this.#options;
    const each = (is: (end: number) => boolean) => ends.every((_, index) => is(index));
    const connected = await this.lookout.lookUntil(
      () => each((index) => this.lookout.lastState(index) === "ESTABLISHED"),
      stepMs,
      signal,
    );
    if (!connected) return this.trace(signal?.aborted ? "interrupted" : "deadline", attempts, addresses);
    // A socket that does not know yet that it is connected would be reset by close().
    for (const socket of this.#sockets) await socket.connected();
    if (data) await this.#transfer(data, ends, stepMs);
    // Wait until everything sent is acknowledged: then every packet has arrived.
    await this.lookout.lookUntil(() => this.#isQuiet(addresses), stepMs, signal);
    this.#information = this.#sockets.map((socket) => socket.getsockopt("information"));
    for (const socket of this.#sockets) {
      // After shutdown(2) the socket still reports its state; it is closed at the end.
      if (closing === "shutdown") socket.shutdown("write");
      else end(socket, closing);
      this.lookout.look();
    }
    await this.lookout.lookUntil(() => this.#isOver(addresses), stepMs, signal);
    for (const socket of this.#sockets) socket.close();
    return this.trace(verdict, attempts, addresses);
  }

  trace(verdict: TraceVerdict, attempts: number, addresses: readonly Address[]): Trace {
    const { closing = "reset", pair = false } = this.#options;
    const ladder = this.#ladder(addresses);
    const counts = this.#capture?.counts();
    const [one, other = one] = addresses as [Address, Address?];
    return {
      verdict,
      isPair: pair,
      attempts,
      closing,
      ladder,
      frames: framesBetween(this.lookout.frames, unmap(one), unmap(other)).own,
      capture: counts ? { ...this.#captureSummary(), ...counts } : null,
      whyNoCapture: this.#whyNoCapture,
      samples: this.lookout.samples,
      agrees: counts?.lost === 0 && ladder.rows.length > 0 ? agreesWith(ladder, this.lookout.samples) : null,
      information: this.#information,
      received: this.#received,
    };
  }

  close(): void {
    for (const socket of this.#sockets) socket.reset();
    this.#capture?.[Symbol.dispose]();
  }

  /** Returns null without the permission, or on another kernel: the trace then has states but no packets. */
  #tryCapture(): Capture | null {
    try {
      return Capture.open(...this.#ports, this.#options.bufferBytes);
    } catch (error) {
      if (!(error instanceof SocketError) || !["EPERM", "ENOSYS", "EACCES"].includes(error.code)) throw error;
      this.#whyNoCapture = error.message;
      return null;
    }
  }

  /** Sends from the first end and receives at the last: the same socket, or the second of a pair. */
  async #transfer(data: Uint8Array, ends: readonly TracedEnd[], mostMs: number): Promise<void> {
    const reader = ends.at(-1)!.socket;
    const received = new Uint8Array(data.length);
    let sent = 0;
    let length = 0;
    await this.lookout.lookUntil(() => {
      if (sent < data.length) sent += ends[0]!.socket.send(data.subarray(sent));
      length += reader.recv(received.subarray(length)) ?? 0;
      return length === data.length;
    }, mostMs);
    this.#received = received.subarray(0, length);
  }

  /** Whether no packet is on its way: every captured one that needs an acknowledgment has got it. */
  #isQuiet(addresses: readonly Address[]): boolean {
    if (!this.#seesAll()) return true;
    const { rows } = this.#ladder(addresses);
    const needs = rows.filter((row) => row.dataBytes > 0 || row.flags.includes("SYN"));
    const isHandshakeDone = rows.some((row) => row.flags.join() === "ACK");
    return isHandshakeDone && needs.every((row) => rows.some((later) => acknowledges(later, row)));
  }

  #isOver(addresses: readonly Address[]): boolean {
    const isResting = (state: TcpState | undefined) => state !== undefined && RESTING.includes(state);
    const kernel = addresses.every((_, index) => isResting(this.lookout.lastState(index)));
    if (!kernel || !this.#seesAll()) return kernel;
    return this.#ladder(addresses).ends.every(({ path }) => isResting(path.at(-1)));
  }

  #seesAll(): boolean {
    return this.#capture !== null && this.#capture.counts().lost === 0;
  }

  #ladder(addresses: readonly Address[]): Ladder {
    const { pair = false } = this.#options;
    const bare = addresses.map(unmap);
    const title = pair
      ? `Simultaneous open between ${bare.map(formatAddress).join(" and ")}`
      : `${formatAddress(bare[0]!)} connects to itself`;
    return ladderOf(this.lookout.frames, bare, title);
  }

  #captureSummary(): Omit<CaptureSummary, keyof CaptureCounts> {
    const [one, other] = this.#ports;
    const filter =
      one === other
        ? `outbound and tcp src port ${one} and tcp dst port ${one}`
        : `outbound and tcp port ${one} and tcp port ${other}`;
    return { device: LOOPBACK_DEVICE, filter, keptCopy: "outgoing" };
  }
}

function acknowledges(later: Ladder["rows"][number], row: Ladder["rows"][number]): boolean {
  const end = row.sequence.relative + row.dataBytes + (row.flags.includes("SYN") ? 1 : 0);
  return later.from === row.to && (later.acknowledgement?.relative ?? -1) >= end;
}

/** Whether the reported states fit the ladder. Sampling misses states, so only those that were reported must fit. */
export function agreesWith(ladder: Ladder, samples: readonly ReportedState[]): boolean {
  return ladder.ends.every(({ path }, end) => {
    const reported = samples.filter((sample) => sample.end === end).map(({ state }) => state);
    let at = 0;
    const onPath = reported.every((state) => {
      const found = path.indexOf(state, at);
      if (found >= 0) at = found;
      return found >= 0;
    });
    return onPath && reported.at(-1) === path.at(-1);
  });
}

async function awaitNatural(
  peer: Address,
  { natural, signal }: TraceOptions,
): Promise<{ socket: TcpSocket | null; attempts: number; verdict: TraceVerdict }> {
  const loop = new ReconnectLoop({ peer, strategy: "fresh", ...natural! });
  const { socket, attempts, verdict } = await loop.run(signal);
  if (verdict === "self-connect") return { socket, attempts, verdict };
  socket?.reset();
  return { socket: null, attempts, verdict };
}

/** bind(2) to the port that the socket will connect to: a self-connect at the first attempt, on any kernel. */
function bindSocket(peer: Address): TcpSocket {
  const socket = TcpSocket.open(peer.family);
  try {
    return socket.bind(peer);
  } catch (error) {
    socket.close();
    throw error;
  }
}

function findFreeAddress(host: Address): Address {
  using socket = bindSocket({ ...host, port: 0 });
  return socket.getsockname();
}

function bindPair(one: Address, other: Address): TcpSocket[] {
  const first = bindSocket(one);
  try {
    return [first, bindSocket(other)];
  } catch (error) {
    first.close();
    throw error;
  }
}

function endsOf(sockets: readonly TcpSocket[]): TracedEnd[] {
  const locals = sockets.map((socket) => socket.getsockname());
  return sockets.map((socket, index) => ({ socket, local: locals[index]!, peer: locals[1 - index]! }));
}

/** Connects both sockets. Returns whether the two SYN crossed: if one came too early, the reply to it was RST. */
async function meet(
  sockets: readonly TcpSocket[],
  { stepMs = STEP_MS, signal }: TraceOptions,
): Promise<boolean> {
  const [one, other] = sockets as [TcpSocket, TcpSocket];
  try {
    TcpSocket.meet(one, other);
    const limits = { deadlineMs: stepMs, ...(signal && { signal }) };
    await Promise.all([one.connected(limits), other.connected(limits)]);
    return true;
  } catch (error) {
    if (error instanceof SocketError && error.code === "ECONNREFUSED") return false;
    throw error;
  }
}
