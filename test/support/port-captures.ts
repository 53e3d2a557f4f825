/** Captures of simulated hosts, and what readPorts() says of them. */
import { seededRandom } from "../../lib/loop/statistics.ts";
import { readPorts } from "../../lib/ports/index.ts";
import type { MadeSyn } from "./capture-files.ts";
import { frame, LINKS, pcapFile } from "./capture-files.ts";
import type { SeenSyn } from "./port-hosts.ts";
import { PORT_HOSTS, seeSyns } from "./port-hosts.ts";

/** A client in each family. */
export const CLIENT = { 4: "192.0.2.7", 6: "2001:db8::7" } as const;

/** The SYNs of a simulated host as packets. */
export function packetsOf(syns: readonly SeenSyn[], from: string): MadeSyn[] {
  return syns.map(({ peer, port, atMs, sequence }) => {
    const host = peer % 200;
    const to = from.includes(":") ? `2001:db8::1:${host}` : `198.51.100.${host}`;
    return { from, to, port, peerPort: 1 + Math.floor(peer / 200), sequence, atMs };
  });
}

/** A pcap file of SYNs. */
export function fileOf(syns: readonly MadeSyn[], link: keyof typeof LINKS = "Ethernet", form = {}): Buffer {
  const frames = syns.map((syn) => ({ bytes: frame(syn, link), atMs: syn.atMs }));
  return pcapFile(frames, LINKS[link]![0], form);
}

async function* pieces(bytes: Uint8Array, length = bytes.length): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** readPorts() of a file that comes in pieces. */
export const read = (bytes: Uint8Array, length?: number) => readPorts(pieces(bytes, length));
/** Judges hosts of all kinds in turn. Returns what was named wrongly, and how many were named. */
export async function judgeHosts(
  firstSeed: number,
  count: number,
): Promise<{ wrong: string[]; named: number }> {
  const wrong: string[] = [];
  let named = 0;
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const random = seededRandom(seed);
    const host = PORT_HOSTS[seed % PORT_HOSTS.length]!(random);
    const { syns, about } = seeSyns(host, random);
    const { sources } = await read(fileOf(packetsOf(syns, CLIENT[seed % 2 === 0 ? 4 : 6])));
    const { name } = sources[0]!.verdict;
    if (name !== "unknown") named++;
    if (name !== "unknown" && !host.names.includes(name))
      wrong.push(`${seed}: ${host.kind} as ${name}, ${about}`);
  }
  return { wrong, named };
}
