/** Socket options: one property for each row of the table in native/core/option.cc, and their values. */

import { checkPort } from "./address.ts";
import { invalidArgument, nearest } from "./misuse.ts";
import type { OptionRow } from "./native.ts";
import type { PortRange } from "./port-range.ts";
import type { TcpState } from "./tcp-state.ts";
import { stateNumbered } from "./tcp-state.ts";

/**
 * TCP_INFO: the members of struct tcp_info (linux/tcp.h) without its bit-fields. A field that the kernel does not
 * report is absent: older Linux kernels know fewer, and FreeBSD tells the state only. Counters of 64 bits are rounded
 * above 2^53.
 */
export interface TcpInformation {
  /** The state of the connection. */
  readonly state: TcpState;
  /** The kernel's number of the congestion control's state (0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss). */
  readonly congestionState?: number;
  /** Retransmission time-outs in a row that wait for an answer now. */
  readonly retransmits?: number;
  /** Zero-window or keep-alive probes that were not answered. */
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
  /** Sent and not acknowledged; of a listener, how many connections wait for accept(2). */
  readonly unacknowledgedPackets?: number;
  /** Acknowledged selectively; of a listener, its backlog. */
  readonly sackedPackets?: number;
  /** Thought to be lost. */
  readonly lostPackets?: number;
  /** Sent again and not acknowledged yet. */
  readonly retransmittedPackets?: number;
  /** Milliseconds since data was sent. */
  readonly lastDataSentMs?: number;
  /** Milliseconds since data was received. */
  readonly lastDataReceivedMs?: number;
  /** Milliseconds since an acknowledgement was received. */
  readonly lastAckReceivedMs?: number;
  /** The path MTU. */
  readonly pathMtuBytes?: number;
  /** Up to this the receive window may grow at once. */
  readonly receiveSlowStartThresholdBytes?: number;
  /** The smoothed round-trip time, in microseconds. */
  readonly roundTripTimeUs?: number;
  /** Its mean deviation, in microseconds. */
  readonly roundTripVariationUs?: number;
  /** Where slow start ends; 2147483647 while there was no loss. */
  readonly sendSlowStartThresholdPackets?: number;
  /** The congestion window. */
  readonly congestionWindowPackets?: number;
  /** The largest segment that we said we take. */
  readonly advertisedSegmentBytes?: number;
  /** How many packets late one may come without being thought lost. */
  readonly reordering?: number;
  /** The round-trip time as the receiver estimates it, in microseconds; 0 before there was data. */
  readonly receiveRoundTripTimeUs?: number;
  /** What the receiver copied to the application in the last round trip. */
  readonly receiveSpaceBytes?: number;
  /** Segments sent again since the connection began. */
  readonly totalRetransmits?: number;
  /** What pacing allows now; all ones is unlimited. */
  readonly pacingBytesPerSecond?: number;
  /** What SO_MAX_PACING_RATE allows; all ones is unlimited. */
  readonly maxPacingBytesPerSecond?: number;
  /** Since the connection began; the SYN counts as one. */
  readonly bytesAcknowledged?: number;
  /** In order, since the connection began. */
  readonly bytesReceived?: number;
  /** Segments sent, pure acknowledgements too. */
  readonly segmentsOut?: number;
  /** Segments received. */
  readonly segmentsIn?: number;
  /** Written and not sent yet. */
  readonly notSentBytes?: number;
  /** The least round-trip time lately, in microseconds; 4294967295 before there was one. */
  readonly minRoundTripTimeUs?: number;
  /** Segments with data received. */
  readonly dataSegmentsIn?: number;
  /** Segments with data sent. */
  readonly dataSegmentsOut?: number;
  /** The rate of delivery measured last. */
  readonly deliveryBytesPerSecond?: number;
  /** Microseconds in which there was something to send. */
  readonly busyUs?: number;
  /** Of these, those in which the peer's window was full. */
  readonly receiveWindowLimitedUs?: number;
  /** Of these, those in which the send buffer was too small. */
  readonly sendBufferLimitedUs?: number;
  /** Packets delivered, those sent again too. */
  readonly deliveredPackets?: number;
  /** Of these, those that were acknowledged with ECN's congestion mark. */
  readonly deliveredCongestionMarkedPackets?: number;
  /** Data sent, that sent again too. */
  readonly bytesSent?: number;
  /** Data sent again. */
  readonly bytesRetransmitted?: number;
  /** DSACK blocks received: what was sent again without need. */
  readonly duplicateSacks?: number;
  /** How often packets were seen out of order. */
  readonly reorderSeen?: number;
  /** Packets received out of order. */
  readonly receivedOutOfOrderPackets?: number;
  /** The window that the peer gives, scaled. */
  readonly sendWindowBytes?: number;
}

/**
 * Every option that can be set or read, by its name here. docs/options.md is made from the table: the
 * constant, the kernel that brought it, the man page. An option that the build or the kernel lacks is
 * `supported(name) === false`, and setting it throws ERR_OPTION_UNSUPPORTED.
 */
export interface SocketOptions {
  /** SO_REUSEADDR. On Linux bind(2) then passes over TIME-WAIT, and over sockets that set it too and do not listen. */
  reuseAddress: boolean;
  /** SO_REUSEPORT. All sockets on the port must set it before bind(2). */
  reusePort: boolean;
  /** SO_LINGER. null is off; 0 makes close(2) send RST and leave no TIME-WAIT. */
  lingerSeconds: number | null;
  /** SO_KEEPALIVE. */
  keepAlive: boolean;
  /** SO_RCVBUF. Linux doubles what is set, and caps it at net.core.rmem_max. */
  receiveBufferBytes: number;
  /** SO_SNDBUF. Linux doubles what is set, and caps it at net.core.wmem_max. */
  sendBufferBytes: number;
  /** SO_RCVLOWAT. */
  receiveLowWaterBytes: number;
  /** SO_BINDTODEVICE. An interface's name; "" is none. */
  device: string;
  /** SO_MARK. For routing and firewalls; needs CAP_NET_ADMIN (or CAP_NET_RAW since 5.17). */
  mark: number;
  /** SO_PRIORITY. 0 to 6; more needs CAP_NET_ADMIN. */
  priority: number;
  /** SO_INCOMING_CPU. */
  incomingCpu: number;
  /** SO_BUSY_POLL. Raising it needs CAP_NET_ADMIN. */
  busyPollUs: number;
  /** SO_MAX_PACING_RATE. All ones is unlimited. */
  maxPacingBytesPerSecond: bigint;
  /** SO_COOKIE. Names this socket for as long as the kernel runs; the same number as in sock_diag. */
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
   * IP_LOCAL_PORT_RANGE. Narrows the ephemeral range for this socket; a bound outside the namespace's own
   * range is ignored (ip(7); Linux commit 91d0b78c5177, 6.3).
   */
  localPortRange: PortRange;
  /** IP_FREEBIND. bind(2) to an address that is not, or not yet, of this host. */
  freeBind: boolean;
  /** IP_TRANSPARENT. Needs CAP_NET_ADMIN (or CAP_NET_RAW). */
  transparent: boolean;
  /** IP_TOS. 0 to 255; TCP keeps the two ECN bits to itself. */
  typeOfService: number;
  /** IP_TTL. 1 to 255. */
  timeToLive: number;
  /** IP_MINTTL. 0 to 255: packets that arrive with less are dropped (RFC 5082). */
  minTimeToLive: number;
  /** IPV6_V6ONLY. IPv6 sockets only; before bind(2). */
  ipv6Only: boolean;
  /** IPV6_TCLASS. IPv6 sockets only; 0 to 255, -1 for the default. */
  trafficClass: number;
  /** IPV6_UNICAST_HOPS. IPv6 sockets only; 0 to 255, -1 for the route's. */
  unicastHops: number;
  /** IPV6_MINHOPCOUNT. IPv6 sockets only; 0 to 255 (RFC 5082). */
  minHopCount: number;
  /** IPV6_FREEBIND. IPv6 sockets only. */
  ipv6FreeBind: boolean;
  /** TCP_NODELAY. */
  noDelay: boolean;
  /** TCP_CORK; TCP_NOPUSH on macOS and the BSDs. */
  cork: boolean;
  /** TCP_QUICKACK. Not sticky: the kernel leaves the mode by itself. */
  quickAck: boolean;
  /** TCP_MAXSEG. 88 to 32767, before connect(2). */
  maxSegmentBytes: number;
  /** TCP_SYNCNT. How many times SYN is sent again, 1 to 255. */
  synRetries: number;
  /** TCP_USER_TIMEOUT. 0 is the system's default (RFC 5482). */
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
  /** TCP_FASTOPEN. How many pending TFO requests a listener takes (RFC 7413). */
  fastOpenBacklog: number;
  /** TCP_FASTOPEN_CONNECT. connect(2) then answers at once, before the handshake. */
  fastOpenConnect: boolean;
  /** TCP_CONGESTION. One of net.ipv4.tcp_available_congestion_control. */
  congestion: string;
  /** TCP_NOTSENT_LOWAT. */
  notSentLowWaterBytes: number;
  /** TCP_INFO. */
  readonly information: TcpInformation;
  /** TCP_SAVE_SYN. A listener then keeps the SYN of each connection. */
  saveSyn: boolean;
}

/** Room for the longest text, and for the largest tcp_info. */
const MOST_TEXT_BYTES = 256;
const MOST_INTEGERS = 128;

/** The name of a socket option here, such as "noDelay" for TCP_NODELAY. */
export type OptionName = keyof SocketOptions;
/** The value of some socket option. */
export type OptionValue = SocketOptions[OptionName];

/** Finds a row by name; throws ERR_UNKNOWN_OPTION and names the near miss. */
export function optionIndex(rows: readonly OptionRow[], name: string): number {
  const index = rows.findIndex((row) => row.name === name);
  if (index >= 0) return index;
  const byConstant = rows.find((row) => row.constant === name)?.name;
  const meant =
    byConstant ??
    nearest(
      name,
      rows.map((row) => row.name),
    );
  const mend = meant ? `; did you mean "${meant}"?` : "";
  throw invalidArgument("ERR_UNKNOWN_OPTION", `"${name}" is not a socket option${mend}`);
}

/** Memory for the value that native code writes: text, or integers. */
export function optionRoom(row: OptionRow): BigInt64Array | Uint8Array {
  return row.kind === "text" ? new Uint8Array(MOST_TEXT_BYTES) : new BigInt64Array(MOST_INTEGERS);
}

/** The value as native code takes it. Throws ERR_OPTION_VALUE when it is not of the option's kind. */
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

/** The value that native code wrote: `count` bytes or integers of `room`. */
export function decodeOption(
  row: OptionRow,
  room: BigInt64Array | Uint8Array,
  count: number,
  names: { readonly fields: readonly string[]; readonly states: readonly (TcpState | "")[] },
): OptionValue {
  if (room instanceof Uint8Array) return new TextDecoder().decode(room.subarray(0, count));
  const [first = 0n, second = 0n] = room;
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
      const fields = names.fields.slice(0, count).map((name, i) => [name, Number(room[i])]);
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
