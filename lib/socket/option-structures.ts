/** The values of socket options that are structs of the kernel. */
import type { Address } from "./address.ts";
import type { TcpState } from "./tcp-state.ts";

/**
 * TCP_INFO: the members of struct tcp_info (linux/tcp.h). A field that the kernel does not report is absent: older
 * Linux kernels report fewer, and FreeBSD only the state. Counters of 64 bits are rounded above 2^53.
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
  /** The window scale of the peer, 0 to 14: its window field is shifted left by so many bits. */
  readonly sendWindowScale?: number;
  /** The window scale of this side, 0 to 14. */
  readonly receiveWindowScale?: number;
  /** Whether the last measured rate of delivery was limited by what the application wrote (Linux 4.9). */
  readonly applicationLimited?: boolean;
  /** Why TCP Fast Open failed: 0 it did not, 1 no cookie, 2 data not acknowledged, 3 SYN lost (Linux 5.5). */
  readonly fastOpenFailure?: number;
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
  /** The rate that pacing allows now; null means unlimited. */
  readonly pacingBytesPerSecond?: number | null;
  /** The rate that SO_MAX_PACING_RATE allows; null means unlimited. */
  readonly maxPacingBytesPerSecond?: number | null;
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
  /** The window that this side advertises, after window scaling (Linux 6.2). */
  readonly receiveWindowBytes?: number;
  /** How often the connection's hash was changed to find another path (Linux 6.2). */
  readonly rehashes?: number;
  /** Retransmission time-outs since the connection began, those of the SYN among them (Linux 6.7). */
  readonly retransmitTimeouts?: number;
  /** How often the connection recovered from retransmission time-outs, or is about to (Linux 6.7). */
  readonly retransmitTimeoutRecoveries?: number;
  /** Milliseconds spent in these recoveries (Linux 6.7). */
  readonly retransmitTimeoutRecoveryMs?: number;
  /** Packets received with ECN's congestion mark (Linux 6.18, as all fields below). */
  readonly receivedCongestionMarkedPackets?: number;
  /** Bytes delivered with ECT(1), by accurate ECN's counters. */
  readonly deliveredEct1Bytes?: number;
  /** Bytes delivered with ECT(0). */
  readonly deliveredEct0Bytes?: number;
  /** Bytes delivered with the congestion mark. */
  readonly deliveredCongestionMarkedBytes?: number;
  /** Bytes received with ECT(1). */
  readonly receivedEct1Bytes?: number;
  /** Bytes received with ECT(0). */
  readonly receivedEct0Bytes?: number;
  /** Bytes received with the congestion mark. */
  readonly receivedCongestionMarkedBytes?: number;
  /** Why accurate ECN failed: bits of the kernel's, 0 when it did not. */
  readonly accurateEcnFailure?: number;
  /** Whether the accurate ECN option was seen: the kernel's number. */
  readonly accurateEcnOptionSeen?: number;
}

/**
 * TCP_CC_INFO: what the congestion control reports of itself. Which fields there are depends on the algorithm: bbr has
 * the first four, dctcp those of its name, and vegas, veno, westwood, yeah, illinois and nv those of vegas. cubic and
 * reno report nothing. bbr reports once the connection has data.
 */
export interface CongestionInformation {
  /** The bandwidth that BBR measured. */
  readonly bandwidthBytesPerSecond?: number;
  /** The smallest round-trip time that BBR measured. */
  readonly minRoundTripTimeUs?: number;
  /** The factor of the pacing rate, times 256. */
  readonly pacingGain256ths?: number;
  /** The factor of the congestion window, times 256. */
  readonly congestionWindowGain256ths?: number;
  /** Whether DCTCP is in use: 0 when the peer has no ECN. */
  readonly dctcpEnabled?: number;
  /** Whether the last packet had the congestion mark. */
  readonly dctcpCongestionMarked?: number;
  /** The part of packets with the mark, times 1024. */
  readonly dctcpAlpha1024ths?: number;
  /** Acknowledged bytes with the mark. */
  readonly dctcpMarkedBytes?: number;
  /** Acknowledged bytes. */
  readonly dctcpAcknowledgedBytes?: number;
  /** Whether Vegas' rules are in force now. */
  readonly vegasEnabled?: number;
  /** Round-trip times measured since the last window. */
  readonly vegasRoundTrips?: number;
  /** The last round-trip time. */
  readonly vegasRoundTripTimeUs?: number;
  /** The smallest round-trip time; 2147483647 before the first measurement. */
  readonly vegasMinRoundTripTimeUs?: number;
}

/** SO_MEMINFO: the memory that the kernel accounts to the socket (sock_diag(7), INET_DIAG_SKMEMINFO). */
export interface MemoryInformation {
  /** Received data that nobody has read yet, with the kernel's overhead. */
  readonly receiveAllocatedBytes?: number;
  /** The limit of it: SO_RCVBUF. */
  readonly receiveBufferBytes?: number;
  /** Data given to the network layer and not freed yet. */
  readonly sendAllocatedBytes?: number;
  /** The limit of what is queued: SO_SNDBUF. */
  readonly sendBufferBytes?: number;
  /** Reserved for later, and not used yet. */
  readonly forwardAllocatedBytes?: number;
  /** Data written and not acknowledged, with the kernel's overhead. */
  readonly sendQueuedBytes?: number;
  /** Memory of options: filters, control messages. */
  readonly optionBytes?: number;
  /** Packets that arrived while the socket was in use. */
  readonly backlogBytes?: number;
  /** Packets dropped since the socket was opened (Linux 4.7). */
  readonly drops?: number;
}

/** TCP_MD5SIG: the key of one peer (RFC 2385). The port of `peer` is ignored; a key of no bytes removes the peer's. */
export interface Md5Signature {
  /** An address of the socket's family. */
  readonly peer: Address | string;
  /** Up to 80 bytes. */
  readonly key: Uint8Array;
}

/** A classic BPF program: the four numbers of each instruction, code, jt, jf and k, as `tcpdump -ddd` prints them. */
export type BpfProgram = readonly (readonly [code: number, jt: number, jf: number, k: number])[];
