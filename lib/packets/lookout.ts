/** Records packets, and the TCP states that the kernel reports, while a connection lives. */
import { setTimeout as sleep } from "node:timers/promises";
import { findFourTuple } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import type { TcpSocket } from "../socket/socket.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import type { Capture, Frame } from "./capture.ts";

/** A state that the kernel reported. */
export interface ReportedState {
  /** The end: 0, or 1 for the second of a pair. */
  readonly end: number;
  /** The state that the kernel reported. */
  readonly state: TcpState;
  /** Where it was read: TCP_INFO while the socket is open, the table after that. */
  readonly source: "TCP_INFO" | "/proc/net/tcp";
  /** How many packets had been captured before. */
  readonly afterPackets: number;
}

/** One end of the traced connection. */
export interface TracedEnd {
  readonly socket: TcpSocket;
  readonly local: Address;
  readonly peer: Address;
}

const LOOK_EVERY_MS = 1;

/** Collects captured frames and reported states. */
export class Lookout {
  readonly frames: Frame[] = [];
  readonly samples: ReportedState[] = [];
  readonly #capture: Capture | null;
  #ends: readonly TracedEnd[] = [];

  constructor(capture: Capture | null) {
    this.#capture = capture;
  }

  /** Samples these ends from now on. Their first packets may already be captured. */
  begin(ends: readonly TracedEnd[]): void {
    this.#ends = ends;
  }

  /** Drops all frames and samples. */
  forget(): void {
    this.take();
    this.frames.length = 0;
    this.samples.length = 0;
  }

  /** Reads the packets captured since the last call. */
  take(): void {
    this.frames.push(...(this.#capture?.read() ?? []));
  }

  /** Samples the state of every end, and reads the packets. */
  look(): void {
    this.take();
    for (const [index, end] of this.#ends.entries()) {
      const { state, source } = stateOf(end);
      const last = this.samples.findLast((sample) => sample.end === index);
      if (last?.state === state) continue;
      this.samples.push({ end: index, state, source, afterPackets: this.frames.length });
    }
    this.take();
  }

  /** The last state that the kernel reported for this end. */
  lastState(end: number): TcpState | undefined {
    return this.samples.findLast((sample) => sample.end === end)?.state;
  }

  /** Looks until `done` returns true, for at most `mostMs`. Returns whether it did. */
  async lookUntil(done: () => boolean, mostMs: number, signal?: AbortSignal): Promise<boolean> {
    const endsAt = performance.now() + mostMs;
    for (;;) {
      this.look();
      if (done()) return true;
      if (signal?.aborted || performance.now() >= endsAt) return false;
      await sleep(LOOK_EVERY_MS);
    }
  }
}

/** Reads the state from TCP_INFO while the socket is open, and then from the kernel's socket table. */
function stateOf({ socket, local, peer }: TracedEnd): Pick<ReportedState, "state" | "source"> {
  if (!socket.closed) {
    const { state } = socket.getsockopt("information");
    if (state !== "CLOSED") return { state, source: "TCP_INFO" };
  }
  const row = findFourTuple(local, peer)[0];
  return { state: row?.state ?? "CLOSED", source: "/proc/net/tcp" };
}
