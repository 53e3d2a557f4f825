/** Remembers addresses, exactly, in little memory. */

/** A prime: neighbouring ports and hosts spread evenly. */
const SHARDS = 251;
const HOST = 8;
/** The offset of the IPv4 address in ::ffff:a.b.c.d; 0xff 0xff is before it. */
const MAPPED = HOST + 12;

/**
 * The addresses that add() was called with, in the 24 bytes of address.ts. About 16 bytes for an IPv4 address and 80
 * for an IPv6 one. Many small sets, because a large one stalls the program while it grows.
 */
export class SeenAddresses {
  readonly #ipv4: NumberSet[] = [];
  readonly #ipv6: Set<string>[] = [];

  /** Returns whether the address is new; ::ffff:127.0.0.1 is the same as 127.0.0.1. */
  add(bytes: Uint8Array): boolean {
    if (bytes[0] === 4) return this.#addIpv4(bytes, HOST);
    if (isMapped(bytes)) return this.#addIpv4(bytes, MAPPED);
    const key = Buffer.from(bytes.buffer, bytes.byteOffset + 2, bytes.length - 2).toString("latin1");
    const shard = bytes.reduce((sum, byte) => (sum * 31 + byte) % SHARDS, 0);
    this.#ipv6[shard] ??= new Set();
    const seen = this.#ipv6[shard];
    const { size } = seen;
    return seen.add(key).size > size;
  }

  #addIpv4(bytes: Uint8Array, at: number): boolean {
    const host = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    const key = (host >>> 0) * 65_536 + ((bytes[2]! << 8) | bytes[3]!);
    const shard = key % SHARDS;
    this.#ipv4[shard] ??= new NumberSet();
    return this.#ipv4[shard].add(key);
  }
}

/**
 * Integers from 0 to 2 ** 48, in a hash table without objects: V8 stores a large number in a Set as an object, and
 * moving a scan's objects in garbage collections took longer than all else that connectMany() does in JavaScript.
 */
class NumberSet {
  /** Each number plus 1; 0 is free. The length is a power of 2, and a quarter at least is free. */
  #slots = new Float64Array(16);
  #size = 0;

  /** Returns whether the number is new. */
  add(key: number): boolean {
    if (this.#size * 4 >= this.#slots.length * 3) this.#grow();
    const isNew = put(this.#slots, key + 1);
    if (isNew) this.#size++;
    return isNew;
  }

  #grow(): void {
    const larger = new Float64Array(this.#slots.length * 2);
    for (const value of this.#slots) if (value > 0) put(larger, value);
    this.#slots = larger;
  }
}

/** Puts the value into the first free slot from its hash on. Returns false when it is there already. */
function put(slots: Float64Array, value: number): boolean {
  const last = slots.length - 1;
  // The multipliers of MurmurHash3.
  const hash = Math.imul((value / 65_536) | 0, 0xcc9e2d51) ^ Math.imul(value & 65_535, 0x85ebca6b);
  for (let at = (hash ^ (hash >>> 15)) & last; ; at = (at + 1) & last) {
    if (slots[at] === value) return false;
    if (slots[at] !== 0) continue;
    slots[at] = value;
    return true;
  }
}

function isMapped(bytes: Uint8Array): boolean {
  return (
    bytes[MAPPED - 1] === 0xff &&
    bytes[MAPPED - 2] === 0xff &&
    bytes.subarray(HOST, MAPPED - 2).every((b) => b === 0)
  );
}
