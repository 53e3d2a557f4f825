/** Socket options: one property for each row of the table in native/core/option.cc, and the encoding of values. */

import { checkPort } from "./address.ts";
import { invalidArgument, nearest } from "./misuse.ts";
import type { OptionRow } from "./native.ts";
import type { PortRange } from "./port-range.ts";
import type { TcpState } from "./tcp-state.ts";
import { stateNumbered } from "./tcp-state.ts";

/**
 * TCP_INFO: the members of struct tcp_info (linux/tcp.h) without its bit-fields. A field that the kernel does not
 * report is absent: older Linux kernels report fewer, and FreeBSD only the state. Counters of 64 bits are rounded
 * above 2^53.
 */
export interface TcpInformation {
  /** The state of the connection. */
  readonly state: TcpState;
  /** The kernel's number of the congestion control's state (0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss). */
  readonly congestionState?: number;
  /** Consecutive retransmission time-outs without an acknowledgement. */
  readonly retransmits?: number;
  /** Zero-window or keep-alive probes sent without a reply. */
  readonly probes?: number;
  /** How many times the retransmission time-out was doubled. */
  readonly backoff?: number;
  /** Bits: 1 timestamps, 2 SACK, 4 window scale, 8 ECN, 16 ECN seen, 32 SYN data. */
  readonly options?: number;
  /** Microseconds until a segment is sent again. */
  readonly retransmitTimeoutUs?: number;
  /** Microseconds that an acknowledgement may be delayed. */
  readonly ackTimeoutUs?: number;
  /** The largest segment that is sent. */
  readonly sendSegmentBytes?: number;
  /** The largest segment that was received, as the kernel estimates it. */
  readonly receiveSegmentBytes?: number;
  /** Packets sent and not acknowledged; on a listener, the connections that wait for accept(2). */
  readonly unacknowledgedPackets?: number;
  /** Packets acknowledged selectively (SACK); on a listener, its backlog. */
  readonly sackedPackets?: number;
  /** Packets that the kernel considers lost. */
  readonly lostPackets?: number;
  /** Packets retransmitted and not acknowledged yet. */
  readonly retransmittedPackets?: number;
  /** Milliseconds since data was sent. */
  readonly lastDataSentMs?: number;
  /** Milliseconds since data was received. */
  readonly lastDataReceivedMs?: number;
  /** Milliseconds since an acknowledgement was received. */
  readonly lastAckReceivedMs?: number;
  /** The path MTU. */
  readonly pathMtuBytes?: number;
  /** The size up to which the receive window may grow at once. */
  readonly receiveSlowStartThresholdBytes?: number;
  /** The smoothed round-trip time, in microseconds. */
  readonly roundTripTimeUs?: number;
  /** The mean deviation of the round-trip time, in microseconds. */
  readonly roundTripVariationUs?: number;
  /** The congestion window at which slow start ends; 2147483647 before the first loss. */
  readonly sendSlowStartThresholdPackets?: number;
  /** The congestion window. */
  readonly congestionWindowPackets?: number;
  /** The largest segment that this side advertised. */
  readonly advertisedSegmentBytes?: number;
  /** How many packets may overtake one before the kernel considers it lost. */
  readonly reordering?: number;
  /** The round-trip time as the receiver estimates it, in microseconds; 0 before there was data. */
  readonly receiveRoundTripTimeUs?: number;
  /** Bytes that the application read in the last round trip. */
  readonly receiveSpaceBytes?: number;
  /** Segments retransmitted since the connection began. */
  readonly totalRetransmits?: number;
  /** The rate that pacing allows now; all bits set means unlimited. */
  readonly pacingBytesPerSecond?: number;
  /** The rate that SO_MAX_PACING_RATE allows; all bits set means unlimited. */
  readonly maxPacingBytesPerSecond?: number;
  /** Bytes acknowledged since the connection began; the SYN counts as one. */
  readonly bytesAcknowledged?: number;
  /** Bytes received in order since the connection began. */
  readonly bytesReceived?: number;
  /** Segments sent, including pure acknowledgements. */
  readonly segmentsOut?: number;
  /** Segments received. */
  readonly segmentsIn?: number;
  /** Bytes written and not sent yet. */
  readonly notSentBytes?: number;
  /** The smallest recent round-trip time, in microseconds; 4294967295 before the first measurement. */
  readonly minRoundTripTimeUs?: number;
  /** Segments received with data. */
  readonly dataSegmentsIn?: number;
  /** Segments sent with data. */
  readonly dataSegmentsOut?: number;
  /** The last measured rate of delivery. */
  readonly deliveryBytesPerSecond?: number;
  /** Microseconds in which there was something to send. */
  readonly busyUs?: number;
  /** The part of busyUs in which the peer's window was full. */
  readonly receiveWindowLimitedUs?: number;
  /** The part of busyUs in which the send buffer was too small. */
  readonly sendBufferLimitedUs?: number;
  /** Packets delivered, including retransmitted ones. */
  readonly deliveredPackets?: number;
  /** Delivered packets that were acknowledged with ECN's congestion mark. */
  readonly deliveredCongestionMarkedPackets?: number;
  /** Bytes of data sent, including retransmissions. */
  readonly bytesSent?: number;
  /** Bytes of data retransmitted. */
  readonly bytesRetransmitted?: number;
  /** DSACK blocks received: each reports an unnecessary retransmission. */
  readonly duplicateSacks?: number;
  /** How often packets were seen out of order. */
  readonly reorderSeen?: number;
  /** Packets received out of order. */
  readonly receivedOutOfOrderPackets?: number;
  /** The window that the peer advertises, after window scaling. */
  readonly sendWindowBytes?: number;
}

/**
 * Every socket option, by its name here. docs/options.md is generated from the table: the constant, the first Linux
 * release, the man page. For an option that the build or the kernel lacks, `supported(name)` is false, and setting it
 * throws ERR_OPTION_UNSUPPORTED.
 */
export interface SocketOptions {
  /** SO_REUSEADDR. On Linux bind(2) then ignores TIME-WAIT sockets, and sockets that also set it and do not listen. */
  reuseAddress: boolean;
  /** SO_REUSEPORT. All sockets on the port must set it before bind(2). */
  reusePort: boolean;
  /** SO_LINGER. null means off; with 0, close(2) sends RST and leaves no TIME-WAIT. */
  lingerSeconds: number | null;
  /** SO_KEEPALIVE. */
  keepAlive: boolean;
  /** SO_RCVBUF. Linux caps the value at net.core.rmem_max, then doubles it. */
  receiveBufferBytes: number;
  /** SO_SNDBUF. Linux caps the value at net.core.wmem_max, then doubles it. */
  sendBufferBytes: number;
  /** SO_RCVLOWAT. */
  receiveLowWaterBytes: number;
  /** SO_BINDTODEVICE. The name of an interface; "" means no interface. */
  device: string;
  /** SO_MARK. For routing and firewalls; needs CAP_NET_ADMIN (or CAP_NET_RAW since 5.17). */
  mark: number;
  /** SO_PRIORITY. 0 to 6; a higher value needs CAP_NET_ADMIN. */
  priority: number;
  /** SO_INCOMING_CPU. */
  incomingCpu: number;
  /** SO_BUSY_POLL. Raising it needs CAP_NET_ADMIN. */
  busyPollUs: number;
  /** SO_MAX_PACING_RATE. All bits set means unlimited. */
  maxPacingBytesPerSecond: bigint;
  /** SO_COOKIE. Identifies this socket until the next boot; the same number as in sock_diag(7). */
  readonly cookie: bigint;
  /** SO_PROTOCOL. The kernel's number, uninterpreted. */
  readonly protocol: number;
  /** SO_DOMAIN. The kernel's number, uninterpreted. */
  readonly domain: number;
  /** SO_ACCEPTCONN. */
  readonly listening: boolean;
  /** IP_BIND_ADDRESS_NO_PORT, late bind: bind(address, 0) leaves the port to connect(2). */
  bindAddressNoPort: boolean;
  /**
   * IP_LOCAL_PORT_RANGE. Narrows the ephemeral range for this socket; a bound outside the network namespace's range
   * is ignored (ip(7); Linux commit 91d0b78c5177, 6.3).
   */
  localPortRange: PortRange;
  /** IP_FREEBIND. Allows bind(2) to an address that this host does not have, or not yet. */
  freeBind: boolean;
  /** IP_TRANSPARENT. Needs CAP_NET_ADMIN (or CAP_NET_RAW). */
  transparent: boolean;
  /** IP_TOS. 0 to 255; TCP sets the two ECN bits itself. */
  typeOfService: number;
  /** IP_TTL. 1 to 255. */
  timeToLive: number;
  /** IP_MINTTL. 0 to 255; the kernel drops packets that arrive with a lower TTL (RFC 5082). */
  minTimeToLive: number;
  /** IPV6_V6ONLY. IPv6 sockets only; before bind(2). */
  ipv6Only: boolean;
  /** IPV6_TCLASS. IPv6 sockets only; 0 to 255, -1 for the default. */
  trafficClass: number;
  /** IPV6_UNICAST_HOPS. IPv6 sockets only; 0 to 255, -1 for the route's default. */
  unicastHops: number;
  /** IPV6_MINHOPCOUNT. IPv6 sockets only; 0 to 255 (RFC 5082). */
  minHopCount: number;
  /** IPV6_FREEBIND. IPv6 sockets only. */
  ipv6FreeBind: boolean;
  /** TCP_NODELAY. */
  noDelay: boolean;
  /** TCP_CORK; TCP_NOPUSH on macOS and the BSDs. */
  cork: boolean;
  /** TCP_QUICKACK. Not permanent: the kernel changes the mode by itself. */
  quickAck: boolean;
  /** TCP_MAXSEG. 88 to 32767, before connect(2). */
  maxSegmentBytes: number;
  /** TCP_SYNCNT. How many times the SYN is retransmitted, 1 to 255. */
  synRetries: number;
  /** TCP_USER_TIMEOUT. 0 means the system's default (RFC 5482). */
  userTimeoutMs: number;
  /** TCP_KEEPIDLE; TCP_KEEPALIVE on macOS. 1 to 32767. */
  keepAliveIdleSeconds: number;
  /** TCP_KEEPINTVL. 1 to 32767. */
  keepAliveIntervalSeconds: number;
  /** TCP_KEEPCNT. 1 to 127. */
  keepAliveProbes: number;
  /** TCP_LINGER2. How long an orphaned socket stays in FIN-WAIT-2. */
  finWait2Seconds: number;
  /** TCP_DEFER_ACCEPT. The kernel rounds to its retransmission steps: 1, 3, 7, 15 … */
  deferAcceptSeconds: number;
  /** TCP_FASTOPEN. How many pending TFO requests a listener accepts (RFC 7413). */
  fastOpenBacklog: number;
  /** TCP_FASTOPEN_CONNECT. connect(2) then returns at once, before the handshake. */
  fastOpenConnect: boolean;
  /** TCP_CONGESTION. One of net.ipv4.tcp_available_congestion_control. */
  congestion: string;
  /** TCP_NOTSENT_LOWAT. */
  notSentLowWaterBytes: number;
  /** TCP_INFO. */
  readonly information: TcpInformation;
  /** TCP_SAVE_SYN. A listener then stores the SYN of each connection. */
  saveSyn: boolean;
}

/** The options of the new socket, and the network namespace to open it in. */
export interface OpenOptions extends Partial<SocketOptions> {
  /**
   * setns(2): the path of another network namespace, such as "/proc/4711/ns/net" or "/run/netns/blue". Needs
   * CAP_SYS_ADMIN. The socket stays in that namespace: its addresses, interfaces and port range are those of there.
   */
  readonly namespace?: string;
}

/** @internal The keys of OpenOptions that are not socket options. */
export const OPEN_KEYS: readonly string[] = ["namespace"] satisfies (keyof OpenOptions)[];

/** Larger than the longest text, and than the largest tcp_info. */
const MOST_TEXT_BYTES = 256;
const MOST_INTEGERS = 128;

/** The name of a socket option here, such as "noDelay" for TCP_NODELAY. */
export type OptionName = keyof SocketOptions;
/** The value of any socket option. */
export type OptionValue = SocketOptions[OptionName];

/**
 * Finds a row by name. Throws ERR_UNKNOWN_OPTION, whose message names the near miss; `otherKeys` are names that the
 * same object may have beside options.
 */
export function optionIndex(
  rows: readonly OptionRow[],
  name: string,
  otherKeys: readonly string[] = [],
): number {
  const index = rows.findIndex((row) => row.name === name);
  if (index >= 0) return index;
  const byConstant = rows.find((row) => row.constant === name)?.name;
  const meant = byConstant ?? nearest(name, [...rows.map((row) => row.name), ...otherKeys]);
  const fix = meant ? `; did you mean "${meant}"?` : "";
  throw invalidArgument("ERR_UNKNOWN_OPTION", `"${name}" is not a socket option${fix}`);
}

/** Allocates memory for the value that native code writes: text or integers. */
export function allocateValue(row: OptionRow): BigInt64Array | Uint8Array {
  return row.kind === "text" ? new Uint8Array(MOST_TEXT_BYTES) : new BigInt64Array(MOST_INTEGERS);
}

/** Encodes a value for native code. Throws ERR_OPTION_VALUE when the value does not fit the option's kind. */
export function encodeOption(row: OptionRow, value: unknown): BigInt64Array | Uint8Array {
  if (row.readOnly) {
    throw invalidArgument("ERR_OPTION_READ_ONLY", `${row.name} (${row.constant}) can only be read`);
  }
  switch (row.kind) {
    case "flag":
      if (typeof value !== "boolean") throw wrongValue(row, value, "true or false");
      return numbers(value ? 1n : 0n);
    case "integer":
      if (!isInteger(value, -(2 ** 31), 2 ** 31 - 1)) throw wrongValue(row, value, "a 32-bit integer");
      return numbers(BigInt(value));
    case "unsigned64":
      if (typeof value !== "bigint" || value < 0n || value >= 2n ** 64n) {
        throw wrongValue(row, value, "a bigint of up to 64 bits");
      }
      return numbers(value);
    case "seconds":
      if (value === null) return numbers(0n, 0n);
      if (!isInteger(value, 0, 65535)) throw wrongValue(row, value, "null, or 0 to 65535 seconds");
      return numbers(1n, BigInt(value));
    case "range":
      return encodeRange(row, value);
    case "text":
      if (typeof value !== "string" || value.includes("\0")) throw wrongValue(row, value, "text without NUL");
      return new TextEncoder().encode(value);
    case "structure":
      throw wrongValue(row, value, "nothing: it can only be read");
  }
}

/** Decodes the value that native code wrote: `count` bytes or integers in `memory`. */
export function decodeOption(
  row: OptionRow,
  memory: BigInt64Array | Uint8Array,
  count: number,
  names: { readonly fields: readonly string[]; readonly states: readonly (TcpState | "")[] },
): OptionValue {
  if (memory instanceof Uint8Array) return new TextDecoder().decode(memory.subarray(0, count));
  const [first = 0n, second = 0n] = memory;
  switch (row.kind) {
    case "flag":
      return first !== 0n;
    case "unsigned64":
      return BigInt.asUintN(64, first);
    case "seconds":
      return first === 0n ? null : Number(second);
    case "range":
      return { low: Number(first), high: Number(second) };
    case "structure": {
      const fields = names.fields.slice(0, count).map((name, i) => [name, Number(memory[i])]);
      return { ...Object.fromEntries(fields), state: stateNumbered(names.states, Number(first)) };
    }
    default:
      return Number(first);
  }
}

function encodeRange(row: OptionRow, value: unknown): BigInt64Array {
  const { low, high } = (value ?? {}) as Partial<PortRange>;
  checkPort(low);
  checkPort(high);
  if (low > high && high !== 0)
    throw wrongValue(row, `${low}-${high}`, "{ low, high } with low not above high");
  return numbers(BigInt(low), BigInt(high));
}

function numbers(first: bigint, second = 0n): BigInt64Array {
  return BigInt64Array.of(first, second);
}

function isInteger(value: unknown, low: number, high: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= low && value <= high;
}

function wrongValue(row: OptionRow, value: unknown, allowed: string): TypeError | RangeError {
  const message = `${row.name} (${row.constant}) cannot be ${String(value)}: use ${allowed}`;
  return invalidArgument("ERR_OPTION_VALUE", message);
}
