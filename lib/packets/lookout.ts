/** Looking at sockets and their packets while they happen: the kernel's own word on the states, beside the capture. */
import { setTimeout as sleep } from "node:timers/promises";
import { findFourTuple } from "../kernel/tables.ts";
import type { Address } from "../socket/address.ts";
import { bare } from "../socket/address.ts";
import type { TcpSocket } from "../socket/socket.ts";
import type { TcpState } from "../socket/tcp-state.ts";
import type { Capture, Frame } from "./capture.ts";

/** A state that the kernel reported. */
export interface ReportedState {
  /** Which end: 0, or 1 for the other of a pair. */
  readonly end: number;
  readonly state: TcpState;
  readonly source: "TCP_INFO" | "/proc/net/tcp";
  /** How many packets had been captured by then. */
  readonly afterPackets: number;
}

/** One end of what is traced. */
export interface TracedEnd {
  readonly socket: TcpSocket;
  readonly local: Address;
  readonly peer: Address;
}

const LOOK_EVERY_MS = 1;

/** Collects frames and samples. */
export class Lookout {
  readonly frames: Frame[] = [];
  readonly samples: ReportedState[] = [];
  readonly #capture: Capture | null;
  #ends: readonly TracedEnd[] = [];

  constructor(capture: Capture | null) {
    this.#capture = capture;
  }

  /** Watches these from now on; their packets may have been captured already. */
  begin(ends: readonly TracedEnd[]): void {
    this.#ends = ends;
  }

  /** Forgets what was seen so far. */
  forget(): void {
    this.take();
    this.frames.length = 0;
    this.samples.length = 0;
  }

  /** Takes the packets that are there. */
  take(): void {
    this.frames.push(...(this.#capture?.read() ?? []));
  }

  /** Asks the kernel for the state of every end, and takes the packets. */
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

  /** The state of an end as the kernel reported it last. */
  lastState(end: number): TcpState | undefined {
    return this.samples.findLast((sample) => sample.end === end)?.state;
  }

  /** Looks until `done`, at most so long; whether it was done. */
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

/** An open socket tells its state itself; what outlives it stands in the kernel's table only. */
function stateOf({ socket, local, peer }: TracedEnd): Pick<ReportedState, "state" | "source"> {
  if (!socket.closed) {
    const { state } = socket.getsockopt("information");
    if (state !== "CLOSED") return { state, source: "TCP_INFO" };
  }
  const row = findFourTuple(bare(local), bare(peer))[0];
  return { state: row?.state ?? "CLOSED", source: "/proc/net/tcp" };
}
