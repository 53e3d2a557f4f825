/** Remembers addresses, exactly, in as little memory as a Set allows. */

/** A prime: neighbouring ports and hosts spread evenly. */
const SHARDS = 251;
const HOST = 8;
const IPV6_BYTES = 16;
/** The offset of the IPv4 address in ::ffff:a.b.c.d; 0xff 0xff is before it. */
const MAPPED = HOST + 12;

/**
 * The addresses that add() was given, in the 24 bytes of address.ts. About 40 bytes for an IPv4 address and 80 for an
 * IPv6 one. Many small sets, because V8's Set holds 16.7 million values at most and stalls while it grows.
 */
export class SeenAddresses {
  readonly #shards: Set<number | string>[] = [];

  /** Returns whether the address is new; ::ffff:127.0.0.1 is the same as 127.0.0.1. */
  add(bytes: Uint8Array): boolean {
    const key = keyOf(bytes);
    const shard = shardOf(key);
    this.#shards[shard] ??= new Set();
    const seen = this.#shards[shard];
    const { size } = seen;
    return seen.add(key).size > size;
  }
}

/** A number for IPv4, which V8 stores in half the memory of a string. */
function keyOf(bytes: Uint8Array): number | string {
  if (bytes[0] === 4) return ipv4Key(bytes, HOST);
  return isMapped(bytes)
    ? ipv4Key(bytes, MAPPED)
    : Buffer.from(bytes.buffer, bytes.byteOffset + 2, bytes.length - 2).toString("latin1");
}

function ipv4Key(bytes: Uint8Array, at: number): number {
  const host = bytes[at]! * 2 ** 24 + bytes[at + 1]! * 2 ** 16 + bytes[at + 2]! * 256 + bytes[at + 3]!;
  return host * 65_536 + bytes[2]! * 256 + bytes[3]!;
}

function isMapped(bytes: Uint8Array): boolean {
  const last = HOST + IPV6_BYTES - 4;
  return (
    bytes[last - 1] === 0xff &&
    bytes[last - 2] === 0xff &&
    bytes.subarray(HOST, last - 2).every((b) => b === 0)
  );
}

function shardOf(key: number | string): number {
  if (typeof key === "number") return key % SHARDS;
  let sum = 0;
  for (let i = 0; i < key.length; i++) sum = (sum * 31 + key.charCodeAt(i)) % SHARDS;
  return sum;
}
