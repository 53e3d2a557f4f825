/** Names how other hosts pick local ports: from the SYNs in a capture file, or from a list of ports. */
import { createReadStream } from "node:fs";
import type { Frame } from "../packets/capture.ts";
import { captureFileError, checkPieces, readCaptureFile } from "../packets/capture-file.ts";
import { findTcp } from "../packets/decode.ts";
import type { Address } from "../socket/address.ts";
import { hostText } from "../socket/address-text.ts";
import { checkKeys } from "../socket/misuse.ts";
import { portAlgorithm } from "./algorithms.ts";
import type { Picks } from "./picks.ts";
import { spanOf } from "./picks.ts";
import type { FingerprintVerdict } from "./verdict.ts";
import { FEWEST_INDEPENDENT, FEWEST_PICKS, judgePicks } from "./verdict.ts";

/** The SYNs of one host to one peer. */
export interface PeerPorts {
  /** The peer; null in a list of ports. */
  readonly address: Pick<Address, "family" | "host" | "port"> | null;
  /** How many SYNs went to it. */
  readonly syns: number;
  /** The lowest local port among them. */
  readonly low: number;
  /** The highest local port among them. */
  readonly high: number;
  /** The verdict on this peer's ports alone; null where that on all peers names an algorithm, or there are few. */
  readonly verdict: FingerprintVerdict | null;
}

/** The local ports of one host. */
export interface SourcePorts {
  /** Its address in the capture; null in a list of ports. */
  readonly host: string | null;
  /** Without those that were sent again. */
  readonly syns: number;
  /** The lowest local port that it used. */
  readonly low: number;
  /** The highest local port that it used. */
  readonly high: number;
  /** How many peers it connected to. */
  readonly peerCount: number;
  /** Whether each peer has a walk of its own; null where no algorithm is named. */
  readonly dependsOnPeer: boolean | null;
  /** The algorithm that explains its ports, or why none does. */
  readonly verdict: FingerprintVerdict;
  /** The peers with the most SYNs. */
  readonly peers: readonly PeerPorts[];
  /** SYNs from an address to itself. */
  readonly selfConnects: number;
  /** The ports themselves, for plots and for judgePicks(). */
  readonly picks: Picks;
}

/** What a capture file or a list shows of how hosts pick local ports. */
export interface PortsReading {
  /** What was read: a capture of packets, or a list of ports. */
  readonly format: "capture" | "list";
  /** All packets of the capture; 0 for a list. */
  readonly packets: number;
  /** SYNs, without those that were sent again. */
  readonly syns: number;
  /** SYNs that were sent or captured again. */
  readonly repeats: number;
  /** SYNs beyond the bounds: 10,000 hosts, 65,536 SYNs of one host, a million in all. */
  readonly leftOut: number;
  /** Bytes of an unfinished record at the end of the file; above 0 it was cut off. */
  readonly cutBytes: number;
  /** How many SYNs of one host a verdict needs, each soon after another one to the same peer. */
  readonly needed: { readonly walk: number; readonly independent: number };
  /** The hosts, those with the most SYNs first. */
  readonly sources: readonly SourcePorts[];
}

/** The options of readPorts(). */
export interface ReadPortsOptions {
  /** Called now and then with the number of bytes read. */
  readonly onProgress?: (bytes: number) => void;
}

const NEEDED = { walk: FEWEST_PICKS, independent: FEWEST_INDEPENDENT };
const MOST_SOURCES = 10_000;
const MOST_OF_SOURCE = 65_536;
const MOST_SYNS = 1_000_000;
const MOST_PEERS_LISTED = 8;
const PIECE_BYTES = 1 << 20;
const SYN = 0x02;
/** SYN, ACK, RST and FIN. */
const OPENING_FLAGS = 0x17;
const LONGEST_LINE = 64;

/**
 * Reads a capture file (pcap or pcapng; Ethernet, VLAN, Linux cooked, raw IP, loopback), or a list of ports (one in a
 * line, in order, to one peer, without pauses), and names the algorithm of each host. Needs no addon and no privilege;
 * memory is bounded. Throws ERR_CAPTURE_FILE where the file is neither, or damaged, and what reading it throws.
 */
export async function readPorts(
  source: string | AsyncIterable<Uint8Array>,
  options: ReadPortsOptions = {},
): Promise<PortsReading> {
  if (typeof source !== "string") checkPieces("readPorts()", source);
  checkKeys("readPorts()", options, ["onProgress"]);
  const stream =
    typeof source === "string" ? createReadStream(source, { highWaterMark: PIECE_BYTES }) : source;
  const pieces = withProgress(stream, options.onProgress)[Symbol.asyncIterator]();
  const first = await firstPiece(pieces);
  return isDigit(first[0]) ? readList(chain(first, pieces)) : readSyns(chain(first, pieces));
}

async function readSyns(pieces: AsyncIterable<Uint8Array>): Promise<PortsReading> {
  const syns = new SynCollector();
  const { packets, cutBytes } = await readCaptureFile(pieces, (frame, link) => syns.add(frame, link));
  const { total, repeats, leftOut } = syns;
  const sources = syns.sources().map(judgeSource);
  return {
    format: "capture",
    packets,
    syns: total,
    repeats,
    leftOut,
    cutBytes,
    needed: NEEDED,
    sources,
  };
}

async function readList(pieces: AsyncIterable<Uint8Array>): Promise<PortsReading> {
  const source = new Source(null);
  let [rest, line, leftOut] = ["", 0, 0];
  const take = (text: string) => {
    line++;
    if (text.trim() === "") return;
    const port = Number(text);
    if (!/^\s*\d+\s*$/.test(text) || port > 65_535)
      throw captureFileError(`line ${line}: ${JSON.stringify(text.slice(0, LONGEST_LINE))} is not a port`);
    if (source.length < MOST_SYNS) source.add(0, port, 0);
    else leftOut++;
  };
  for await (const piece of pieces) {
    const lines = (rest + Buffer.from(piece).toString("latin1")).split("\n");
    rest = lines.pop()!;
    if (rest.length > LONGEST_LINE) take(rest);
    lines.forEach(take);
  }
  take(rest);
  const judged = judgeSource({ ...source.ports(), picks: { ...source.ports().picks, atMs: null } });
  const counts = { packets: 0, syns: source.length, repeats: 0, leftOut, cutBytes: 0, needed: NEEDED };
  return { format: "list", ...counts, sources: [judged] };
}

/** The SYNs of a capture by source. */
class SynCollector {
  total = 0;
  repeats = 0;
  leftOut = 0;
  readonly #sources = new Map<string, Source>();
  #startNs: bigint | null = null;

  add({ bytes, stampNs }: Frame, link: number): void {
    const packet = findTcp(bytes, link);
    // A SYN's flags follow its ports and numbers; that the rest was not captured does not matter.
    if ("problem" in packet || packet.bytes.length < 14) return;
    if ((packet.bytes[13]! & OPENING_FLAGS) !== SYN) return;
    this.#startNs ??= stampNs;
    const atMs = Number(stampNs - this.#startNs) / 1e6;
    const tcp = new DataView(packet.bytes.buffer, packet.bytes.byteOffset, 14);
    const source = this.#source(packet.from);
    const port = tcp.getUint16(0);
    const peer = source?.peer(packet.to, tcp.getUint16(2)) ?? -1;
    if (!source || source.isFull || this.total >= MOST_SYNS) this.leftOut++;
    else if (source.isRepeat(peer, port, tcp.getUint32(4))) this.repeats++;
    else {
      source.add(peer, port, atMs);
      if (port === tcp.getUint16(2) && latin1(packet.from) === latin1(packet.to)) source.selfConnects++;
      this.total++;
    }
  }

  sources(): CollectedPorts[] {
    const all = [...this.#sources.values()].map((source) => source.ports());
    return all.sort((a, b) => b.picks.ports.length - a.picks.ports.length);
  }

  #source(address: Uint8Array): Source | undefined {
    const key = latin1(address);
    const known = this.#sources.get(key);
    if (known || this.#sources.size >= MOST_SOURCES) return known;
    const made = new Source(hostText(address));
    this.#sources.set(key, made);
    return made;
  }
}

/** What was collected of one host. */
interface CollectedPorts {
  readonly host: string | null;
  readonly addresses: readonly PeerPorts["address"][];
  readonly selfConnects: number;
  readonly picks: Picks & { readonly atMs: Float64Array | null };
}

/** The picks of one host, in arrays that grow. */
class Source {
  selfConnects = 0;
  length = 0;
  readonly #host: string | null;
  readonly #addresses: PeerPorts["address"][] = [];
  readonly #peerByKey = new Map<string, number>();
  /** The initial sequence number of the last SYN from each port to each peer. */
  readonly #numbers = new Map<number, number>();
  #ports = new Uint16Array(16);
  #peers = new Uint32Array(16);
  #atMs = new Float64Array(16);

  constructor(host: string | null) {
    this.#host = host;
    if (host === null) this.#addresses.push(null);
  }

  get isFull(): boolean {
    return this.length >= MOST_OF_SOURCE;
  }

  /** The index of a peer. A full source takes no new ones. */
  peer(address: Uint8Array, port: number): number {
    const key = `${latin1(address)}${port}`;
    const known = this.#peerByKey.get(key);
    if (known !== undefined || this.isFull) return known ?? -1;
    this.#addresses.push({ family: address.length === 4 ? 4 : 6, host: hostText(address), port });
    this.#peerByKey.set(key, this.#addresses.length - 1);
    return this.#addresses.length - 1;
  }

  /** A SYN that is sent again has the same sequence number; a new one from the same port has another. */
  isRepeat(peer: number, port: number, sequence: number): boolean {
    const key = peer * 65_536 + port;
    if (this.#numbers.get(key) === sequence) return true;
    this.#numbers.set(key, sequence);
    return false;
  }

  add(peer: number, port: number, atMs: number): void {
    if (this.length === this.#ports.length) this.#grow();
    this.#ports[this.length] = port;
    this.#peers[this.length] = peer;
    this.#atMs[this.length] = atMs;
    this.length++;
  }

  ports(): CollectedPorts {
    const [ports, peers, atMs] = [this.#ports, this.#peers, this.#atMs].map((list) =>
      list.subarray(0, this.length),
    ) as [Uint16Array, Uint32Array, Float64Array];
    const { selfConnects } = this;
    return { host: this.#host, addresses: this.#addresses, selfConnects, picks: { ports, peers, atMs } };
  }

  #grow(): void {
    const grown = <List extends Uint16Array | Uint32Array | Float64Array>(old: List, made: List): List => {
      made.set(old);
      return made;
    };
    const length = 2 * this.length;
    this.#ports = grown(this.#ports, new Uint16Array(length));
    this.#peers = grown(this.#peers, new Uint32Array(length));
    this.#atMs = grown(this.#atMs, new Float64Array(length));
  }
}

function judgeSource({ host, addresses, picks, selfConnects }: CollectedPorts): SourcePorts {
  const verdict = judgePicks(picks);
  const { low, high } = spanOf(picks.ports);
  const isKnown = verdict.name !== "unknown";
  const counts = new Uint32Array(addresses.length);
  for (const peer of picks.peers) counts[peer]!++;
  const busiest = [...counts.keys()].sort((a, b) => counts[b]! - counts[a]!).slice(0, MOST_PEERS_LISTED);
  return {
    host,
    syns: picks.ports.length,
    low,
    high,
    peerCount: addresses.length,
    dependsOnPeer: isKnown ? portAlgorithm(verdict.name).counters.includes("many") : null,
    verdict,
    peers: busiest.map((peer) => judgePeer(addresses[peer]!, picks, peer, isKnown || addresses.length === 1)),
    selfConnects,
    picks,
  };
}

function judgePeer(address: PeerPorts["address"], all: Picks, peer: number, isJudged: boolean): PeerPorts {
  const own = Array.from(all.peers.keys()).filter((index) => all.peers[index] === peer);
  const ports = Uint16Array.from(own, (index) => all.ports[index]!);
  const atMs = all.atMs && Float64Array.from(own, (index) => all.atMs![index]!);
  const { low, high } = spanOf(ports);
  const isEnough = !isJudged && own.length >= FEWEST_PICKS;
  const verdict = isEnough ? judgePicks({ ports, atMs, peers: new Uint32Array(own.length) }) : null;
  return { address, syns: own.length, low, high, verdict };
}

async function* withProgress(
  pieces: AsyncIterable<Uint8Array>,
  onProgress: ((bytes: number) => void) | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    onProgress?.(bytes);
    yield piece;
  }
}

/** The first piece that is not empty; an empty one at the end of the file. */
async function firstPiece(pieces: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  for (;;) {
    const { done, value } = await pieces.next();
    if (done) return new Uint8Array(0);
    if (value.length > 0) return value;
  }
}

async function* chain(
  first: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  yield first;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
