/** Builds capture files: SYNs in frames of every link type, in pcap and pcapng. */
import { hostBytes } from "../../lib/socket/address.ts";

/** A SYN, and which host sent it to which. */
export interface MadeSyn {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly peerPort: number;
  readonly sequence: number;
  readonly atMs: number;
}

/** An IP packet with a TCP header, as it follows the link's header. */
export function synPacket({ from, to, port, peerPort, sequence }: MadeSyn): Uint8Array {
  const [source, destination] = [hostBytes(from)!, hostBytes(to)!];
  const isOld = source.length === 4;
  const bytes = Buffer.alloc((isOld ? 20 : 40) + 20);
  if (isOld) {
    bytes.set([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, ...source, ...destination]);
  } else {
    bytes.set([0x60, 0, 0, 0, 0, 20, 6, 64, ...source, ...destination]);
  }
  const tcp = bytes.subarray(isOld ? 20 : 40);
  tcp.writeUInt16BE(port, 0);
  tcp.writeUInt16BE(peerPort, 2);
  tcp.writeUInt32BE(sequence, 4);
  tcp.set([0x50, 0x02, 0xff, 0xff], 12);
  return bytes;
}

const etherType = (packet: Uint8Array) => (packet[0]! >> 4 === 4 ? [0x08, 0x00] : [0x86, 0xdd]);
const zeroes = (count: number) => new Array<number>(count).fill(0);
const family = (packet: Uint8Array) => (packet[0]! >> 4 === 4 ? 2 : 10);

/** The header of each link type that can be read, and its number. */
export const LINKS: Readonly<
  Record<string, readonly [link: number, header: (packet: Uint8Array) => number[]]>
> = {
  Ethernet: [1, (packet) => [...zeroes(12), ...etherType(packet)]],
  "a VLAN": [1, (packet) => [...zeroes(12), 0x81, 0, 0, 5, ...etherType(packet)]],
  "a VLAN in a VLAN": [1, (packet) => [...zeroes(12), 0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, ...etherType(packet)]],
  "Linux cooked v1": [113, (packet) => [...zeroes(14), ...etherType(packet)]],
  "Linux cooked v2": [276, (packet) => [...etherType(packet), ...zeroes(18)]],
  "raw IP": [101, () => []],
  "BSD loopback": [0, (packet) => [family(packet), 0, 0, 0]],
  "OpenBSD loopback": [108, (packet) => [0, 0, 0, family(packet)]],
};

/** The frames of SYNs, with the header of one link type. */
export function frame(syn: MadeSyn, link: keyof typeof LINKS): Uint8Array {
  const packet = synPacket(syn);
  return Uint8Array.from([...LINKS[link]![1](packet), ...packet]);
}

/** How a pcap file is written. */
export interface PcapForm {
  readonly isLittle?: boolean;
  readonly isNanoseconds?: boolean;
}

/** A pcap file. */
export function pcapFile(
  frames: readonly { readonly bytes: Uint8Array; readonly atMs: number }[],
  link: number,
  { isLittle = true, isNanoseconds = false }: PcapForm = {},
): Buffer {
  const words = (values: readonly number[]) => {
    const bytes = Buffer.alloc(4 * values.length);
    for (const [index, value] of values.entries()) {
      if (isLittle) bytes.writeUInt32LE(value, 4 * index);
      else bytes.writeUInt32BE(value, 4 * index);
    }
    return bytes;
  };
  const version = isLittle ? 0x0004_0002 : 0x0002_0004;
  const head = words([isNanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, version, 0, 0, 262_144, link]);
  const records = frames.flatMap(({ bytes, atMs }) => {
    const fraction = Math.floor((atMs % 1000) * (isNanoseconds ? 1e6 : 1e3));
    const seconds = 1_700_000_000 + Math.floor(atMs / 1000);
    return [words([seconds, fraction, bytes.length, bytes.length]), bytes];
  });
  return Buffer.concat([head, ...records]);
}
