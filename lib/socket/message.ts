/** recvmsg(2): what the kernel reports in addition to the bytes, and the error queue. */
import type { Address } from "./address.ts";
import { ADDRESS_BYTES, decodeAddress, interfaceName } from "./address.ts";
import { checkBytes } from "./bytes.ts";
import type { ErrnoName } from "./errors.ts";
import { errnoName } from "./errors.ts";
import { checkFlags, checkKeys } from "./misuse.ts";
import type { Flag, Handle, Native } from "./native.ts";

/** What reportMessages() turns on. An absent key turns the report off. */
export interface MessageReports {
  /**
   * IP_RECVERR and IPV6_RECVERR: ICMP errors go to the error queue, with the address of the router that sent them. A
   * connect then fails at the first ICMP error, even at one after which TCP would otherwise retry.
   */
  readonly errors?: boolean;
  /**
   * SO_TIMESTAMPING, RX_SOFTWARE: recvmsg() returns the time at which the last of its bytes arrived. The first packets
   * after this call may have no time, because the kernel starts to timestamp a moment later.
   */
  readonly received?: boolean;
  /** SO_TIMESTAMPING, TX_SOFTWARE: the error queue reports when the last byte of each send left for the device. */
  readonly sent?: boolean;
  /** SO_TIMESTAMPING, TX_ACK: the error queue reports when the peer acknowledged the last byte of each send. */
  readonly acknowledged?: boolean;
  /** SO_TIMESTAMPING without a time of its own: the error queue reports those that sendmsg() requests. */
  readonly requested?: boolean;
}

/** The times that sendmsg() requests. */
export interface MessageStamps {
  /** TX_SOFTWARE: when the last byte of this message left for the device. */
  readonly sent?: boolean;
  /** TX_ACK: when the peer acknowledged the last byte of this message. */
  readonly acknowledged?: boolean;
}

/** Flags of recv(2). */
export interface ReceiveOptions {
  /** MSG_PEEK: the bytes stay in the receive queue, and the next call returns them again. */
  readonly peek?: boolean;
  /** MSG_OOB: reads the urgent byte. Throws SocketError EINVAL when there is none, or after it was read. */
  readonly urgent?: boolean;
}

/** Flags of recvmsg(2). */
export interface MessageOptions extends ReceiveOptions {
  /** MSG_ERRQUEUE: reads the oldest report of the error queue instead of the stream. */
  readonly errorQueue?: boolean;
}

/** What recvmsg() returns. */
export interface ReceivedMessage {
  /** The number of bytes read. 0 is the end of the stream; a report of the error queue may have 0 bytes. */
  readonly length: number;
  /** MSG_CTRUNC: the kernel had more to report than this call takes. */
  readonly isTruncated: boolean;
  /** When the last byte arrived, in nanoseconds since 1970. Needs reportMessages({ received: true }). */
  readonly receivedAtNs?: bigint;
  /** With `errorQueue` only. */
  readonly report?: QueuedReport;
}

/** One report of the error queue, struct sock_extended_err: an error, or the time of something that was sent. */
export interface QueuedReport {
  /** The source: this host, an ICMP message, or the kernel's clock. */
  readonly origin: "unknown" | "local" | "icmp" | "icmp6" | "timestamp";
  /** "EHOSTUNREACH" …; absent for a timestamp. */
  readonly code?: ErrnoName;
  /** The ICMP type. */
  readonly type: number;
  /** The ICMP code. */
  readonly icmpCode: number;
  /** ee_info: the path MTU with EMSGSIZE. */
  readonly info: number;
  /** ee_data. For a timestamp, the index of its last byte; the first byte sent after reportMessages() has index 0. */
  readonly data: number;
  /** The sender of the ICMP message; the port is 0. */
  readonly offender?: Address;
  /** For a timestamp: what happened at `atNs`. */
  readonly stage?: "sent" | "acknowledged";
  /** For a timestamp: nanoseconds since 1970. */
  readonly atNs?: bigint;
}

/** The fields of struct MessageFacts in native/core/message.h, in its order. */
const FACTS = [
  "isTruncated",
  "timestampNs",
  "hasError",
  "error",
  "origin",
  "type",
  "code",
  "info",
  "data",
  "stage",
  "hasOffender",
] as const;
type Facts = Record<(typeof FACTS)[number], bigint>;
/** By enum Origin and enum Stage of native/core/message.h. */
const ORIGINS = ["unknown", "local", "icmp", "icmp6", "timestamp"] as const;
const STAGES = [undefined, "sent", "acknowledged"] as const;

/** The memory of one recvmsg(2). */
export class RawMessage {
  readonly #words = new BigInt64Array(FACTS.length);
  readonly #offender = new Uint8Array(ADDRESS_BYTES);
  #native: Native | null = null;

  /** recvmsg(2). Returns the number of bytes or -errno. */
  receive(native: Native, handle: Handle, into: Uint8Array, options: MessageOptions): number {
    checkBytes(into, "recvmsg()");
    checkKeys("recvmsg()", options, ["peek", "urgent", "errorQueue"]);
    checkFlags(options, ["peek", "urgent", "errorQueue"]);
    const flags = [flag(options.peek), flag(options.urgent), flag(options.errorQueue)] as const;
    this.#native = native;
    return native.recvmsg(handle, into, ...flags, this.#words, this.#offender);
  }

  /** Decodes what receive() wrote; `length` is the number of bytes that it returned. */
  decode(length: number): ReceivedMessage {
    const facts = Object.fromEntries(FACTS.map((name, i) => [name, this.#words[i]!])) as Facts;
    const isTruncated = facts.isTruncated !== 0n;
    const atNs = facts.timestampNs;
    if (facts.hasError !== 0n) return { length, isTruncated, report: this.#decodeReport(facts) };
    return { length, isTruncated, ...(atNs !== 0n && { receivedAtNs: atNs }) };
  }

  #decodeReport(facts: Facts): QueuedReport {
    const stage = STAGES[Number(facts.stage)];
    return {
      origin: ORIGINS[Number(facts.origin)]!,
      ...(!stage && { code: errnoName(-Number(facts.error)) }),
      type: Number(facts.type),
      icmpCode: Number(facts.code),
      info: Number(facts.info),
      data: Number(facts.data),
      ...(facts.hasOffender !== 0n && { offender: this.#decodeOffender() }),
      ...(stage && { stage, atNs: facts.timestampNs }),
    };
  }

  #decodeOffender(): Address {
    return decodeAddress(this.#offender, (index) => interfaceName(index, this.#native!));
  }
}

/** Sets what the kernel reports. Returns 0 or -errno. */
export function setReports(native: Native, handle: Handle, reports: MessageReports): number {
  checkKeys("reportMessages()", reports, ["errors", "received", "sent", "acknowledged", "requested"]);
  checkFlags(reports, ["errors", "received", "sent", "acknowledged", "requested"]);
  const { errors, received, sent, acknowledged, requested } = reports;
  const ofSent = [flag(sent), flag(acknowledged), flag(requested)] as const;
  return native.setReports(handle, flag(errors), flag(received), ...ofSent);
}

/** sendmsg(2), with a control message if times are requested. Returns the number of bytes or -errno. */
export function sendMessage(
  native: Native,
  handle: Handle,
  buffers: readonly Uint8Array[],
  { sent, acknowledged }: MessageStamps,
): number {
  if (!sent && !acknowledged) return native.sendmsg(handle, buffers);
  return native.sendStamped(handle, buffers, flag(sent), flag(acknowledged));
}

/** recv(2). Returns the number of bytes or -errno. */
export function receive(
  native: Native,
  handle: Handle,
  into: Uint8Array,
  options: ReceiveOptions | undefined,
): number {
  checkBytes(into, "recv()");
  if (options === undefined) return native.recv(handle, into, 0, 0);
  checkKeys("recv()", options, ["peek", "urgent"]);
  checkFlags(options, ["peek", "urgent"]);
  return native.recv(handle, into, flag(options.peek), flag(options.urgent));
}

function flag(value: boolean | undefined): Flag {
  return value ? 1 : 0;
}
