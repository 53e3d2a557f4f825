/** Explains why each packet was sent, in the terms of RFC 9293. Pure. */
import type { Segment } from "./decode.ts";
import type { Step } from "./states.ts";
import { sequenceLength } from "./states.ts";

/** A segment, and everything that the reason for it depends on. */
export interface Situation {
  readonly segment: Segment;
  readonly step: Step;
  /** Whether both ends are one socket. */
  readonly isSelf: boolean;
  /** The segment that it replies to, if any. */
  readonly answers: Segment | null;
  /** Whether the same sequence numbers were sent before. */
  readonly isRepeat: boolean;
}

export function reasonFor(situation: Situation): string {
  const { segment, isRepeat } = situation;
  const reason = reasonByFlags(situation);
  return isRepeat && sequenceLength(segment) > 0
    ? `sent again, because no acknowledgment came: ${reason}`
    : reason;
}

function reasonByFlags(situation: Situation): string {
  const { segment, step } = situation;
  const has = (flag: Segment["flags"][number]) => segment.flags.includes(flag);
  if (has("RST")) return resetReason(situation);
  if (has("SYN") && has("ACK")) return synAckReason(situation);
  if (has("SYN")) return synReason(situation);
  if (has("FIN")) return finReason(situation);
  if (segment.dataBytes > 0) return dataReason(situation);
  if (step.received.after === "TIME-WAIT" && step.received.before === "CLOSING") {
    return "acknowledges the FIN: the receiver, in CLOSING, enters TIME-WAIT and waits 2 MSL (3.6, figure 13)";
  }
  return ackReason(situation);
}

function synReason({ isSelf, step }: Situation): string {
  const opens = "active OPEN: SYN announces the initial sequence number (3.5)";
  if (step.received.before !== "SYN-SENT") return opens;
  const who = isSelf ? "its own sender" : "its peer";
  return `${opens}; it reaches ${who} in SYN-SENT: a simultaneous open (figure 7)`;
}

function synAckReason({ isSelf, step }: Situation): string {
  if (step.sent.before !== "SYN-RECEIVED") return "acknowledges the SYN and sends its own (3.5)";
  const whose = isSelf ? "its own SYN" : "the peer's SYN";
  return `in SYN-SENT ${whose} came without ACK: enter SYN-RECEIVED, answer SYN,ACK (3.10.7.3)`;
}

function ackReason({ answers, isSelf }: Situation): string {
  if (answers?.flags.includes("SYN")) {
    const known = isSelf
      ? "its SYN is known already, so its SEQ"
      : "the SYN in it is known already, so its SEQ";
    if (answers.flags.includes("ACK"))
      return `answers SYN,ACK: ${known} is not acceptable, which calls for an ACK (3.10.7.4)`;
    return "acknowledges the SYN (3.5)";
  }
  if (answers?.flags.includes("FIN")) return "acknowledges the FIN (3.6)";
  if (answers && answers.dataBytes > 0)
    return `acknowledges ${bytesText(answers.dataBytes)}: RCV.NXT has moved past them (3.4)`;
  return "carries no data and no control: acknowledges what came before (3.4)";
}

function dataReason({ segment, isSelf }: Situation): string {
  const push = segment.flags.includes("PSH") ? "; PSH: deliver now (3.9.1.2)" : "";
  const where = isSelf ? ", which come back to the writer: local and peer are one address" : "";
  return `SEND: ${bytesText(segment.dataBytes)}${where}${push}`;
}

function finReason({ step, isSelf }: Situation): string {
  if (step.sent.before === "CLOSE-WAIT")
    return "CLOSE by the other end: its FIN follows, and it enters LAST-ACK (3.6)";
  const closes = "CLOSE: FIN says that no more data follows (3.6)";
  if (step.received.after !== "CLOSING") return closes;
  const who = isSelf ? "its sender" : "its peer";
  return `${closes}; it reaches ${who} in FIN-WAIT-1: a simultaneous close (figure 13)`;
}

function resetReason({ step }: Situation): string {
  const aborts = "ABORT: RST, and the connection is gone without TIME-WAIT (3.10.5)";
  if (step.sent.before === "CLOSED") return "replies to a packet for which there is no connection (3.5.2)";
  return step.received.before === "CLOSED"
    ? `${aborts}; when it comes back there is no connection, and it is dropped`
    : aborts;
}

function bytesText(bytes: number): string {
  return `${bytes} byte${bytes === 1 ? "" : "s"}`;
}
