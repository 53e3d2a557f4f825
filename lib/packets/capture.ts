/** Captures the TCP packets between two ports of this host on loopback. */
import { checkPort } from "../socket/address-text.ts";
import { errnoName, SocketError } from "../socket/errors.ts";
import { invalidArgument, textOf } from "../socket/misuse.ts";
import type { Handle, Native } from "../socket/native.ts";
import { loadNative } from "../socket/native.ts";

/** One packet of an interface that carries Ethernet frames. */
export interface Frame {
  /** The kernel's time stamp, in nanoseconds since 1970. */
  readonly stampNs: bigint;
  /** The frame as captured, with its link header. */
  readonly bytes: Uint8Array;
  /** Length of the packet; greater than that of `bytes` if the packet was captured in part. */
  readonly wireBytes: number;
}

/** The counts of getsockopt(2), PACKET_STATISTICS: they show whether a capture is complete. */
export interface CaptureCounts {
  /** How many packets passed the filter. */
  readonly passed: number;
  /** How many of these are missing, because the kernel had no room for them. */
  readonly lost: number;
}

/** Packets to any address of this host pass through this interface. */
export const LOOPBACK_DEVICE = "lo";

const BUFFER_BYTES = 8 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;
const FRAMES_PER_READ = 256;
const FACTS = 3;

/** By system call and errno. */
const FIXES: Readonly<Record<string, string>> = {
  "socket EPERM": "AF_PACKET needs CAP_NET_RAW; run as root, or in a namespace of your own: unshare -rn",
  "socket ENOSYS": "packets are captured with AF_PACKET, which only Linux has",
};

function checkBufferBytes(bufferBytes: number): void {
  if (Number.isInteger(bufferBytes) && bufferBytes > 0 && bufferBytes < 2 ** 31) return;
  const message = `bufferBytes ${textOf(bufferBytes)} is not a number of bytes: use 1 to 2147483647`;
  throw invalidArgument("ERR_OUT_OF_RANGE", message, RangeError);
}

/**
 * packet(7). Loopback passes every packet twice, outgoing and incoming. The kernel's filter keeps the outgoing copies
 * of packets between the two ports.
 */
export class Capture implements Disposable {
  readonly #native: Native;
  readonly #handle: Handle;
  readonly #bytes = new Uint8Array(READ_BYTES);
  readonly #facts = new BigUint64Array(FACTS * FRAMES_PER_READ);
  #passed = 0;
  #lost = 0;

  /**
   * socket(2) of AF_PACKET, if_nametoindex(3), setsockopt(2), bind(2). Port 0 is any port. Throws SocketError with the
   * call that failed: EPERM of socket without CAP_NET_RAW, ENOSYS of socket except on Linux.
   */
  static open(
    onePort: number,
    otherPort: number,
    bufferBytes = BUFFER_BYTES,
    native = loadNative(),
  ): Capture {
    for (const port of [onePort, otherPort]) checkPort(port);
    checkBufferBytes(bufferBytes);
    const handle = native.handle();
    const failed = new Uint32Array(1);
    const answer = native.captureOpen(handle, LOOPBACK_DEVICE, onePort, otherPort, bufferBytes, failed);
    if (answer >= 0) return new Capture(handle, native);
    const syscall = native.captureCalls[failed[0]!]!;
    const fix = FIXES[`${syscall} ${errnoName(answer)}`];
    throw new SocketError(answer, { syscall, ...(fix && { fix }) });
  }

  private constructor(handle: Handle, native: Native) {
    this.#handle = handle;
    this.#native = native;
  }

  /** recvmsg(2): the packets captured since the last call. */
  read(): Frame[] {
    const frames: Frame[] = [];
    for (;;) {
      const count = this.#native.captureRead(this.#handle, this.#bytes, this.#facts);
      if (count < 0) throw new SocketError(count, { syscall: "recvmsg" });
      if (count === 0) return frames;
      frames.push(...framesOf(this.#bytes, this.#facts, count));
    }
  }

  /** getsockopt(2), PACKET_STATISTICS, in total since open(). */
  counts(): CaptureCounts {
    const counters = new Uint32Array(2);
    const answer = this.#native.captureStatistics(this.#handle, counters);
    if (answer < 0) throw new SocketError(answer, { syscall: "getsockopt" });
    this.#passed += counters[0]!;
    this.#lost += counters[1]!;
    return { passed: this.#passed, lost: this.#lost };
  }

  /** close(2): ends the capture. */
  [Symbol.dispose](): void {
    this.#native.close(this.#handle);
  }
}

function framesOf(bytes: Uint8Array, facts: BigUint64Array, count: number): Frame[] {
  let at = 0;
  return Array.from({ length: count }, (_, i) => {
    const [stampNs, captured, wire] = facts.subarray(FACTS * i, FACTS * (i + 1));
    const frame = bytes.slice(at, at + Number(captured));
    at += frame.length;
    return { stampNs: stampNs!, bytes: frame, wireBytes: Number(wire) };
  });
}
