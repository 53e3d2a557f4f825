/** The memory of one native call that makes many connects. */
import type { Address } from "../socket/address.ts";
import { ADDRESS_BYTES, decodeAddress, interfaceName } from "../socket/address.ts";
import type { Handle, Native } from "../socket/native.ts";
import type { PortRange } from "../socket/port-range.ts";

/** Connects of one native call. More would block the event loop for longer than half a millisecond. */
export const BATCH = 32;

/** A connect has ended connected to itself: native/core/checked.h. */
export const JOINED = 2;

/** Ten ranges are as many as there are for one connect (prevention.ts). */
const RANGES_WORDS = 1 + 2 * 10;

/** Up to BATCH connects. */
export class ConnectBatch {
  readonly #native: Native;
  readonly #handles: Handle[] = [];
  readonly #peers = new Uint8Array(BATCH * ADDRESS_BYTES);
  readonly #ranges = new Uint16Array(BATCH * RANGES_WORDS);
  readonly #results = new Int32Array(BATCH);
  readonly #locals = new Uint8Array(BATCH * ADDRESS_BYTES);
  readonly #elapsed = new Float64Array(BATCH);

  constructor(native: Native) {
    this.#native = native;
  }

  /** Adds a connect: of a socket, or of an empty handle, which gets one; from the first range with a free port. */
  add(handle: Handle, peer: Uint8Array, ranges: readonly PortRange[]): void {
    const index = this.#handles.push(handle) - 1;
    this.#peers.set(peer, index * ADDRESS_BYTES);
    const at = index * RANGES_WORDS;
    this.#ranges[at] = ranges.length;
    for (const [i, { low, high }] of ranges.entries()) this.#ranges.set([low, high], at + 1 + 2 * i);
  }

  /** connect(2) for each added; then the batch is empty. Returns how many were made, or -errno of socket(2). */
  run(): number {
    const { length } = this.#handles;
    const made = this.#native.connects(
      this.#handles,
      length,
      this.#peers,
      this.#ranges,
      this.#results,
      this.#locals,
      this.#elapsed,
    );
    this.clear();
    return made;
  }

  /** Makes the batch empty. */
  clear(): void {
    this.#handles.length = 0;
  }

  /** 0 when connected, IN_PROGRESS, JOINED, or -errno; until the next run(). */
  result(index: number): number {
    return this.#results[index]!;
  }

  elapsedMs(index: number): number {
    return this.#elapsed[index]!;
  }

  /** getsockname(2) of a connected socket. */
  local(index: number): Address {
    const bytes = this.#locals.subarray(index * ADDRESS_BYTES, (index + 1) * ADDRESS_BYTES);
    return decodeAddress(bytes, (scope) => interfaceName(scope, this.#native));
  }
}
