/** Observes which local ports the kernel picks, by making many attempts. */
import { bindProves, isOwnAddress, portFacts } from "../kernel/host.ts";
import { addOutcomes, interruptUntil, makeReport, runBurst } from "../loop/burst.ts";
import { onAbort } from "../socket/abort.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress, formatAddress, isSameAddress } from "../socket/address.ts";
import { findFreePort } from "../socket/free-port.ts";
import { checkFlags, checkKeys, invalidArgument, textOf } from "../socket/misuse.ts";
import { loadNative } from "../socket/native.ts";
import type { PortRange } from "../socket/port-range.ts";
import { UNPRIVILEGED } from "../socket/port-range.ts";
import { TcpSocket } from "../socket/socket.ts";
import type { Strategy } from "../socket/strategy.ts";
import { supported } from "../socket/supported.ts";
import type { Method } from "./method.ts";
import { checkMethod } from "./method.ts";
import type { NamespacePicks } from "./namespace.ts";
import { pickInNamespaces } from "./namespace.ts";

/** The local ports that the kernel picked, in order, and when. */
export interface Observation {
  /** How an attempt got its local port. */
  readonly method: Method;
  /** The peer of the run, then the other peers of the weave. */
  readonly peers: readonly Address[];
  /** The local ports of the run, in order. */
  readonly ports: Uint16Array;
  /** The time of each pick, in milliseconds since the start; within a burst as if they were at the same pace. */
  readonly atMs: Float64Array;
  /** Ports of attempts to all peers in turn, right after the run: one array for each peer; empty for bind(2). */
  readonly weave: readonly Uint16Array[];
  /** Ports picked in other network namespaces; present if the option `namespaces` was set. */
  readonly namespaces?: NamespacePicks;
}

/** The options of samplePorts(). */
export interface SampleOptions {
  /** An address of this host where nothing listens, or a listener that accepts. */
  readonly peer: Address | string;
  /** How an attempt gets its local port; default "connect". */
  readonly method?: Method;
  /** Attempts in the run. */
  readonly count: number;
  /** Creates network namespaces after the run, to observe whether they continue its walk. */
  readonly namespaces?: boolean;
  /** Ends the sampling early; the observation then has the ports picked so far. */
  readonly signal?: AbortSignal;
  /** Called now and then with the number of attempts so far. */
  readonly onProgress?: (attempts: number) => void;
}

/** One local port, and whether the socket was joined to itself. */
export interface Pick {
  readonly port: number;
  readonly isSelfConnect: boolean;
}

/** Yields to the event loop after this many picks. */
export const PICKS_PER_TURN = 256;
/** The most attempts of a burst, whose ports are in memory and are reported at its end, and its longest time. */
const PICKS_PER_BURST = 16_384;
const SLICE_MS = 1000;
/** Those to a listener, whose queue may be short: it accepts between two bursts. */
const PICKS_OF_LISTENER = 128;
/** The run goes on after each self-connect. */
const MOST_SELF_CONNECTS = 2 ** 32 - 1;
const WEAVE_ROUNDS = 64;
const MOST_PICKS = 100_000_000;

/**
 * getsockname(2) after each attempt: returns the local ports that the kernel picked. The peer is a dead port or a
 * listener of this host: Linux keeps the local port of a refused connect, so no listener is needed. Throws
 * ERR_NOT_THIS_HOST, ERR_UNKNOWN_METHOD, ERR_OUT_OF_RANGE, ERR_OPTION_UNSUPPORTED, or SocketError.
 */
export async function samplePorts(options: SampleOptions): Promise<Observation> {
  checkKeys("samplePorts()", options, ["peer", "method", "count", "namespaces", "signal", "onProgress"]);
  checkFlags(options, ["namespaces"]);
  const { method = "connect", count, signal, onProgress } = options;
  const peer = checkAddress(options.peer);
  checkSample(peer, method, count);
  const pick = makePicker(method);
  const run = new Run(count, onProgress);
  await pickInBursts(peer, method, run, signal);
  const { made, ports, atMs } = run;
  const peers = method === "bind" ? [peer] : [peer, ...otherPeers(peer)];
  const weave = peers.length > 1 && made === count ? weavePorts(peers, pick) : [];
  const observation = { method, peers, ports: ports.subarray(0, made), atMs: atMs.subarray(0, made), weave };
  if (!options.namespaces || made < count) return observation;
  return { ...observation, namespaces: await pickInNamespaces(peer, method, pick, signal) };
}

/** The picks of the run so far. */
class Run {
  readonly ports: Uint16Array;
  readonly atMs: Float64Array;
  made = 0;
  readonly #startedAt = performance.now();
  readonly #onProgress: ((attempts: number) => void) | undefined;

  constructor(count: number, onProgress: ((attempts: number) => void) | undefined) {
    this.ports = new Uint16Array(count);
    this.atMs = new Float64Array(count);
    this.#onProgress = onProgress;
  }

  get left(): number {
    return this.ports.length - this.made;
  }

  /** Adds ports that were picked since the last call, at the same pace. */
  add(ports: ArrayLike<number>): void {
    const since = this.atMs[this.made - 1] ?? 0;
    const each = (performance.now() - this.#startedAt - since) / ports.length;
    this.ports.set(ports, this.made);
    for (let index = 1; index <= ports.length; index++) this.atMs[this.made++] = since + index * each;
  }

  report(): void {
    this.#onProgress?.(this.made);
  }
}

/** The attempts of the run in bursts, on a thread. */
async function pickInBursts(
  peer: Address,
  method: Method,
  run: Run,
  signal: AbortSignal | undefined,
): Promise<void> {
  const native = loadNative();
  const stop = new Int32Array(1);
  let hasEnded = false;
  const removeAbort = onAbort(signal, () => {
    Atomics.store(stop, 0, 1);
    interruptUntil(native, () => hasEnded);
  });
  const strategy: Strategy = method === "bind" ? "autobind" : "reuse";
  const sampling = { bindsLate: method === "late-bind", ...(method === "range" && { range: wholeRange() }) };
  const limits = { selfConnects: MOST_SELF_CONNECTS, sliceMs: SLICE_MS, stop };
  const how = { engine: "plain", trustsBind: bindProves(peer) ? 1 : 0 } as const;
  let resetsAll = false;
  try {
    while (run.left > 0 && !signal?.aborted) {
      const ports = new Uint16Array(Math.min(run.left, resetsAll ? PICKS_OF_LISTENER : PICKS_PER_BURST));
      const report = makeReport(native);
      const memory = { attempts: ports.length, ports, report };
      const burst = { peer, strategy, ...limits, ...how, ...memory, sampling: { ...sampling, resetsAll } };
      const connected = await runBurst(native, burst);
      run.add(ports.subarray(0, addOutcomes(new Float64Array(native.outcomes), report)));
      run.report();
      if (native.fd(connected) < 0) continue;
      TcpSocket.adopt(connected).reset();
      // A listener: it gets no more connections at once than its queue has room for.
      resetsAll = true;
    }
  } finally {
    hasEnded = true;
    removeAbort();
  }
}

/** Returns a function that makes one attempt. Throws ERR_OPTION_UNSUPPORTED where the method needs a later kernel. */
export function makePicker(method: Method): (peer: Address) => Pick {
  if (method === "bind") return pickByBind;
  if (method === "connect") return (peer) => pickByConnect(TcpSocket.open(peer.family), peer);
  if (method === "late-bind") return pickByLateBind;
  const range = wholeRange();
  return (peer) => pickByConnect(TcpSocket.open(peer.family, { localPortRange: range }), peer);
}

function wholeRange(): PortRange {
  const range = portFacts().ephemeralRange;
  if (range && supported("localPortRange")) return range;
  const message = "method range needs IP_LOCAL_PORT_RANGE (Linux 6.3 and later)";
  throw invalidArgument("ERR_OPTION_UNSUPPORTED", message);
}

/** bind(2) with port 0. If the port is the peer's, connect(2) follows: that is a self-connect. */
function pickByBind(peer: Address): Pick {
  using socket = TcpSocket.open(peer.family);
  const { port } = socket.bind({ ...peer, port: 0 }).getsockname();
  if (port !== peer.port) return { port, isSelfConnect: false };
  return pickByConnect(socket, peer);
}

function pickByLateBind(peer: Address): Pick {
  using socket = TcpSocket.open(peer.family, { bindAddressNoPort: true });
  return pickByConnect(socket.bind({ ...peer, port: 0 }), peer);
}

/** connect(2), getsockname(2), reset: a socket in TIME-WAIT would keep the kernel from picking the port again. */
function pickByConnect(socket: TcpSocket, peer: Address): Pick {
  try {
    socket.connect(peer);
    const local = socket.getsockname();
    // A socket can be joined to itself only on the peer's port, so any other port needs no check.
    const isSelfConnect = local.port === peer.port && socket.isSelfConnected();
    return { port: local.port, isSelfConnect };
  } finally {
    socket.reset();
  }
}

/** Returns the same host with other dead ports, and another loopback address with the same port. */
function otherPeers(peer: Address): Address[] {
  const deadAfter = (from: number, used: readonly number[]) =>
    findFreePort(UNPRIVILEGED, {
      addresses: [peer],
      from: from + 1,
      isWanted: (port) => !used.includes(port),
    });
  const dead = deadAfter(peer.port, [peer.port]);
  const another = deadAfter(dead, [peer.port, dead]);
  const others: Address[] = [{ ...peer, port: dead }];
  const isLoopback = peer.family === 4 && peer.host.startsWith("127.");
  if (isLoopback) others.push({ ...peer, host: peer.host === "127.0.0.2" ? "127.0.0.3" : "127.0.0.2" });
  // With a fourth one, a table of few counters does not look like one counter.
  others.push({ ...peer, port: another });
  return others.filter((other) => !isSameAddress(other, peer));
}

function weavePorts(peers: readonly Address[], pick: (peer: Address) => Pick): Uint16Array[] {
  const weave = peers.map(() => new Uint16Array(WEAVE_ROUNDS));
  for (let round = 0; round < WEAVE_ROUNDS; round++) {
    peers.forEach((peer, index) => {
      weave[index]![round] = pick(peer).port;
    });
  }
  return weave;
}

function checkSample(peer: Address, method: Method, count: number): void {
  checkMethod(method);
  if (!Number.isInteger(count) || count < 1 || count > MOST_PICKS) {
    const message = `count ${textOf(count)} is not a count: use 1 to ${MOST_PICKS}`;
    throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
  }
  if (isOwnAddress(peer)) return;
  const message = `${formatAddress(peer)} is not an address of this host: many connects to another host are a flood`;
  throw invalidArgument("ERR_NOT_THIS_HOST", message);
}
