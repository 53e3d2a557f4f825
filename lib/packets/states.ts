/**
 * The TCP states that packets imply: those of RFC 9293, figure 5, that an active OPEN can reach, with the simultaneous
 * open of section 3.5 (figure 7) and the simultaneous close of section 3.6 (figure 13). Pure.
 */
import type { TcpState } from "../socket/tcp-state.ts";
import type { Segment } from "./decode.ts";

/** The fields of a segment that change the state. */
export type Signal = Pick<Segment, "flags" | "sequence" | "acknowledgement" | "dataBytes">;

/** How one packet changes the states of the two ends, which in a self-connect are one socket. */
export interface Step {
  /** The sender's state before and after it sent the packet. */
  readonly sent: { readonly before: TcpState; readonly after: TcpState };
  /** The receiver's state before and after it received the packet. */
  readonly received: { readonly before: TcpState; readonly after: TcpState };
  /** The packet it replies to: the last one with data, SYN or FIN that its sender received since it last sent. */
  readonly answers: number | null;
  /** How many packets the receiver sent while this one was on its way: above 0, packets crossed. */
  readonly crossed: number;
}

/** The sequence number after the last byte, SYN or FIN. It is the same when the segment is sent again. */
export function sequenceEnd(signal: Signal): number {
  const controls = signal.flags.filter((flag) => flag === "SYN" || flag === "FIN").length;
  return (signal.sequence + signal.dataBytes + controls) >>> 0;
}

/** The length of a segment in sequence space: its bytes of data, SYN and FIN. */
export function sequenceLength(signal: Signal): number {
  return (sequenceEnd(signal) - signal.sequence) >>> 0;
}

/** Whether `one` comes before `other`, modulo 2^32. */
export function isBefore(one: number, other: number): boolean {
  return ((one - other) | 0) < 0;
}

/** One end of a connection. */
export class TcpEnd {
  state: TcpState = "CLOSED";
  #synEnd: number | undefined;
  #finEnd: number | undefined;

  send(signal: Signal): void {
    const has = (flag: "SYN" | "FIN" | "RST") => signal.flags.includes(flag);
    if (has("RST")) {
      this.state = "CLOSED";
    } else if (has("SYN")) {
      this.#synEnd = (signal.sequence + 1) >>> 0;
      if (this.state === "CLOSED") this.state = "SYN-SENT";
    } else if (has("FIN")) {
      this.#finEnd = sequenceEnd(signal);
      if (this.state === "CLOSE-WAIT") this.state = "LAST-ACK";
      else if (this.state === "ESTABLISHED" || this.state === "SYN-RECEIVED") this.state = "FIN-WAIT-1";
    }
  }

  receive(signal: Signal): void {
    const has = (flag: "SYN" | "FIN" | "RST" | "ACK") => signal.flags.includes(flag);
    if (this.state === "CLOSED") return;
    if (has("RST")) {
      // A RST that answers a SYN must acknowledge it (section 3.5.3).
      if (this.state !== "SYN-SENT" || this.#acknowledges(signal, this.#synEnd)) this.state = "CLOSED";
      return;
    }
    const opens = this.state === "SYN-SENT" || this.state === "SYN-RECEIVED";
    if (opens && has("ACK") && this.#acknowledges(signal, this.#synEnd)) {
      if (has("SYN") || this.state === "SYN-RECEIVED") this.state = "ESTABLISHED";
    } else if (this.state === "SYN-SENT" && has("SYN") && !has("ACK")) {
      this.state = "SYN-RECEIVED";
    }
    if (has("ACK") && this.#acknowledges(signal, this.#finEnd)) this.#acknowledgeFin();
    if (has("FIN")) this.#receiveFin();
  }

  #acknowledges(signal: Signal, end: number | undefined): boolean {
    return end !== undefined && signal.flags.includes("ACK") && !isBefore(signal.acknowledgement, end);
  }

  #acknowledgeFin(): void {
    if (this.state === "FIN-WAIT-1") this.state = "FIN-WAIT-2";
    else if (this.state === "CLOSING") this.state = "TIME-WAIT";
    else if (this.state === "LAST-ACK") this.state = "CLOSED";
  }

  #receiveFin(): void {
    if (this.state === "ESTABLISHED" || this.state === "SYN-RECEIVED") this.state = "CLOSE-WAIT";
    else if (this.state === "FIN-WAIT-1") this.state = "CLOSING";
    else if (this.state === "FIN-WAIT-2") this.state = "TIME-WAIT";
  }
}

/** A packet that was sent and is not known to have been received. */
interface InFlight {
  readonly index: number;
  readonly signal: Signal;
  /** How many packets its receiver had sent before. */
  readonly sentByReceiver: number;
}

/** The states of the ends while they exchanged packets. */
export interface Course {
  /** One for each packet. */
  readonly steps: readonly Step[];
  /** The states of each end in order, starting with CLOSED. */
  readonly paths: readonly (readonly TcpState[])[];
}

/**
 * Follows packets, in the order in which they were sent, through the states of one end (a self-connect) or two.
 * The next packet of the receiver shows when it received a packet: it has received what it acknowledges, and has not
 * received what it should have acknowledged and did not.
 */
export function follow(signals: readonly (Signal & { readonly end: number })[], ends: 1 | 2): Course {
  const machines = Array.from({ length: ends }, () => new TcpEnd());
  const paths = machines.map((machine) => [machine.state]);
  const inboxes: InFlight[][] = machines.map(() => []);
  const sentBy = machines.map(() => 0);
  const steps: Step[] = [];
  const unanswered: (number | null)[] = machines.map(() => null);
  const move = (end: number, act: (machine: TcpEnd) => void) => {
    const before = machines[end]!.state;
    act(machines[end]!);
    const after = machines[end]!.state;
    if (after !== before) paths[end]!.push(after);
    return { before, after };
  };
  const receiveNext = (end: number): void => {
    const { index, signal, sentByReceiver } = inboxes[end]!.shift()!;
    const received = move(end, (machine) => machine.receive(signal));
    if (sequenceLength(signal) > 0) unanswered[end] = index;
    const crossed = ends === 1 ? 0 : sentBy[end]! - sentByReceiver;
    steps[index] = { ...steps[index]!, received, crossed };
  };
  for (const [index, signal] of signals.entries()) {
    const inbox = inboxes[signal.end]!;
    while (inbox.length > 0 && mayHaveSeen(inbox[0]!.signal, signal)) receiveNext(signal.end);
    const sent = move(signal.end, (machine) => machine.send(signal));
    const receiver = ends === 1 ? 0 : 1 - signal.end;
    steps[index] = { sent, received: sent, answers: unanswered[signal.end]!, crossed: 0 };
    unanswered[signal.end] = null;
    sentBy[signal.end]!++;
    inboxes[receiver]!.push({ index, signal, sentByReceiver: sentBy[receiver]! });
  }
  for (const end of machines.keys()) while (inboxes[end]!.length > 0) receiveNext(end);
  return { steps, paths };
}

/** Whether an end that sends `next` can have received `earlier` before that. */
function mayHaveSeen(earlier: Signal, next: Signal): boolean {
  if (sequenceLength(earlier) === 0) return true;
  // An end that has received SYN,ACK is ESTABLISHED and sends no further SYN, though the numbers would allow it.
  if (next.flags.includes("SYN") && earlier.flags.includes("SYN") && earlier.flags.includes("ACK"))
    return false;
  return next.flags.includes("ACK") && !isBefore(next.acknowledgement, sequenceEnd(earlier));
}
