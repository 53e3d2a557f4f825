/** Socket options: one property for each row of the table in native/core/option.cc. */

import type { Address } from "./address.ts";
import type {
  BpfProgram,
  CongestionInformation,
  Md5Signature,
  MemoryInformation,
  TcpInformation,
} from "./option-structures.ts";
import type { PortRange } from "./port-range.ts";

/**
 * IP_PMTUDISC_…: "want" follows the route and fragments a packet that is too long, "do" never fragments, "dont" never
 * sets Don't Fragment, "probe" ignores the path MTU, "interface" and "omit" ignore what routers report.
 */
export type PathMtuDiscovery = "dont" | "want" | "do" | "probe" | "interface" | "omit";

/** IPV6_PREFER_SRC_…: a public address, a temporary one (RFC 8981), or what the host prefers. */
export type AddressPreference = "public" | "temporary" | "default";

/**
 * Every socket option, by its name here. docs/options.md is generated from the table: the constant, the first Linux
 * release, the man page. For an option that the build or the kernel lacks, `supported(name)` is false, and setting it
 * throws ERR_OPTION_UNSUPPORTED. A number outside an option's range is ERR_OPTION_VALUE.
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
  /** SO_RCVBUFFORCE. Set only: receiveBufferBytes above net.core.rmem_max. Needs CAP_NET_ADMIN. */
  forcedReceiveBufferBytes: number;
  /** SO_SNDBUFFORCE. Set only: sendBufferBytes above net.core.wmem_max. Needs CAP_NET_ADMIN. */
  forcedSendBufferBytes: number;
  /** SO_BUF_LOCK. 1 the send buffer and 2 the receive buffer keep their size; 0 lets the kernel tune both again. */
  bufferLockBits: number;
  /** SO_RCVLOWAT. */
  receiveLowWaterBytes: number;
  /** SO_SNDLOWAT. Always 1 on Linux. */
  readonly sendLowWaterBytes: number;
  /** SO_BINDTODEVICE. The name of an interface; "" means no interface. */
  device: string;
  /** SO_BINDTOIFINDEX. The same as `device` by the interface's index; 0 means no interface. */
  deviceIndex: number;
  /** SO_MARK. 0 to 4294967295, for routing and firewalls; needs CAP_NET_ADMIN (or CAP_NET_RAW since 5.17). */
  mark: number;
  /** SO_PRIORITY. 0 to 6; a higher value, up to 4294967295, needs CAP_NET_ADMIN. */
  priority: number;
  /** SO_OOBINLINE. Urgent data is then read among the rest by recv(). */
  outOfBandInline: boolean;
  /** SO_DONTROUTE. Only to hosts that are directly connected, without a gateway. */
  dontRoute: boolean;
  /** SO_DEBUG. Needs CAP_NET_ADMIN, else EACCES. */
  debug: boolean;
  /** SO_INCOMING_CPU. -1 before the first packet. */
  incomingCpu: number;
  /** SO_INCOMING_NAPI_ID. The device's receive queue of the last packet; 0 for none, as on loopback. */
  readonly incomingNapiId: number;
  /** SO_BUSY_POLL. Raising it needs CAP_NET_ADMIN. */
  busyPollUs: number;
  /** SO_PREFER_BUSY_POLL. Setting it needs CAP_NET_ADMIN. */
  preferBusyPoll: boolean;
  /** SO_MAX_PACING_RATE. null means unlimited. */
  maxPacingBytesPerSecond: bigint | null;
  /** SO_TXREHASH. Whether a retransmission time-out may look for another path; true by net.core.txrehash. */
  transmitRehash: boolean;
  /** SO_TIMESTAMP. Asks for control messages with the time of reception, in microseconds. */
  receiveTimestamps: boolean;
  /** SO_TIMESTAMPNS. The same in nanoseconds; setting one clears the other. */
  receiveTimestampsNs: boolean;
  /** SO_SELECT_ERR_QUEUE. poll(2) then reports the error queue as POLLPRI too. */
  selectErrorQueue: boolean;
  /** SO_PEEK_OFF. Where the next recv(2) with MSG_PEEK begins; -1 turns it off. */
  peekOffsetBytes: number;
  /**
   * SO_ATTACH_FILTER. Set only; 1 to 4096 instructions. Packets that the program cuts to 0 bytes are dropped. On a TCP
   * socket Linux of 2026 needs CAP_NET_ADMIN (commit 5d39580f68e6): 6.1.176, 6.12.113, 6.18.44 and 7.2.7 do, 5.10.46
   * does not.
   */
  filter: BpfProgram;
  /** SO_LOCK_FILTER. Not even root can then change or remove the filter; it cannot be set back (EPERM). */
  lockFilter: boolean;
  /**
   * SO_ATTACH_REUSEPORT_CBPF. Set only, after reusePort and bind(2): the program returns the index of the listener, in
   * the order in which they were bound, that gets a connection.
   */
  reusePortFilter: BpfProgram;
  /** SO_COOKIE. Identifies this socket until the next boot; the same number as in sock_diag(7). */
  readonly cookie: bigint;
  /** SO_NETNS_COOKIE. Identifies the network namespace of the socket until the next boot. */
  readonly namespaceCookie: bigint;
  /** SO_MEMINFO. */
  readonly memory: MemoryInformation;
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
  /**
   * SO_ORIGINAL_DST. Where an accepted connection was going before netfilter's REDIRECT or DNAT sent it here. Throws
   * SocketError ENOENT when it was not redirected, ENOPROTOOPT without connection tracking.
   */
  readonly originalDestination: Address;
  /** IP_TOS. 0 to 255; TCP sets the two ECN bits itself. */
  typeOfService: number;
  /** IP_TTL. 1 to 255. */
  timeToLive: number;
  /** IP_MINTTL. 0 to 255; the kernel drops packets that arrive with a lower TTL (RFC 5082). */
  minTimeToLive: number;
  /** IP_MTU. The path MTU known now; throws SocketError ENOTCONN before the connection. */
  readonly pathMtuBytes: number;
  /** IP_MTU_DISCOVER. */
  pathMtuDiscovery: PathMtuDiscovery;
  /** IP_RECVERR. Keeps ICMP errors in the error queue, and reports them to the connection at once. */
  receiveErrors: boolean;
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
  /** IPV6_TRANSPARENT. IPv6 sockets only; needs CAP_NET_ADMIN (or CAP_NET_RAW). */
  ipv6Transparent: boolean;
  /** IP6T_SO_ORIGINAL_DST. IPv6 sockets only; as originalDestination. */
  readonly ipv6OriginalDestination: Address;
  /** IPV6_ADDR_PREFERENCES. IPv6 sockets only; which of the host's addresses connect(2) prefers (RFC 5014). */
  addressPreference: AddressPreference;
  /** IPV6_AUTOFLOWLABEL. IPv6 sockets only; the kernel sets a flow label of the connection's hash. */
  autoFlowLabel: boolean;
  /** IPV6_MTU. IPv6 sockets only; as pathMtuBytes. */
  readonly ipv6PathMtuBytes: number;
  /** IPV6_MTU_DISCOVER. IPv6 sockets only. */
  ipv6PathMtuDiscovery: PathMtuDiscovery;
  /** IPV6_RECVERR. IPv6 sockets only; as receiveErrors. */
  ipv6ReceiveErrors: boolean;
  /** TCP_NODELAY. */
  noDelay: boolean;
  /** TCP_CORK; TCP_NOPUSH on macOS and the BSDs. */
  cork: boolean;
  /** TCP_QUICKACK. Not permanent: the kernel changes the mode by itself. */
  quickAck: boolean;
  /** TCP_MAXSEG. 88 to 32767, before connect(2). */
  maxSegmentBytes: number;
  /** TCP_WINDOW_CLAMP. The largest window to advertise; 0 means no limit, only before the connection. */
  windowClampBytes: number;
  /** TCP_SYNCNT. How many times the SYN is retransmitted, 1 to 127. */
  synRetries: number;
  /** TCP_USER_TIMEOUT. 0 means the system's default (RFC 5482). */
  userTimeoutMs: number;
  /** TCP_RTO_MAX_MS. The longest wait for an acknowledgement between two retransmissions, 1000 to 120000. */
  maxRetransmitTimeoutMs: number;
  /** TCP_RTO_MIN_US. The shortest such wait; the kernel rounds it to its clock ticks, and takes up to 200000. */
  minRetransmitTimeoutUs: number;
  /** TCP_DELACK_MAX_US. How long an acknowledgement may be delayed; rounded, up to 200000. */
  maxAckDelayUs: number;
  /** TCP_THIN_LINEAR_TIMEOUTS. A connection with few packets in flight retransmits without backing off. */
  thinLinearTimeouts: boolean;
  /** TCP_TX_DELAY. Delays each packet sent, to emulate a distance; needs the fq queue or pacing. */
  transmitDelayUs: number;
  /** TCP_KEEPIDLE; TCP_KEEPALIVE on macOS. 1 to 32767. */
  keepAliveIdleSeconds: number;
  /** TCP_KEEPINTVL. 1 to 32767. */
  keepAliveIntervalSeconds: number;
  /** TCP_KEEPCNT. 1 to 127. */
  keepAliveProbes: number;
  /** TCP_LINGER2. How long an orphaned socket stays in FIN-WAIT-2; -1 not at all. Linux caps it at 120. */
  finWait2Seconds: number;
  /** TCP_DEFER_ACCEPT. The kernel rounds to its retransmission steps: 1, 3, 7, 15 … */
  deferAcceptSeconds: number;
  /** TCP_FASTOPEN. How many pending TFO requests a listener accepts (RFC 7413). */
  fastOpenBacklog: number;
  /** TCP_FASTOPEN_CONNECT. connect(2) then returns at once, before the handshake. */
  fastOpenConnect: boolean;
  /** TCP_FASTOPEN_KEY. A listener's key for cookies: 16 bytes, or 32 for a key and the one before it. */
  fastOpenKey: Uint8Array;
  /** TCP_FASTOPEN_NO_COOKIE. Data in the SYN is taken without a cookie. */
  fastOpenNoCookie: boolean;
  /** TCP_CONGESTION. One of net.ipv4.tcp_available_congestion_control. */
  congestion: string;
  /** TCP_CC_INFO. */
  readonly congestionInformation: CongestionInformation;
  /** TCP_ULP. "tls" hands encryption to the kernel; "" while there is none. Cannot be removed; after connect(2). */
  upperLayerProtocol: string;
  /** TCP_MD5SIG. Set only, one call for each peer. Before connect(2) or on a listener; both ends need the key. */
  md5Signature: Md5Signature;
  /** TCP_NOTSENT_LOWAT. */
  notSentLowWaterBytes: number;
  /** TCP_INFO. */
  readonly information: TcpInformation;
  /** TCP_IS_MPTCP. Whether the connection uses Multipath TCP; false after the peer declined it. */
  readonly multipath: boolean;
  /** TCP_SAVE_SYN. A listener then stores the SYN of each connection. */
  saveSyn: boolean;
  /**
   * TCP_SAVED_SYN. The IP and TCP headers of the SYN that opened an accepted connection, when its listener had set
   * saveSyn. The kernel frees them as they are read: the next read, like one without saveSyn, returns no bytes.
   */
  readonly savedSyn: Uint8Array;
}

/** The options of the new socket, and what socket(2) decides. */
export interface OpenOptions extends Partial<SocketOptions> {
  /** IPPROTO_MPTCP: Multipath TCP (RFC 8684) when the peer has it too, else TCP. Linux 5.6. */
  readonly mptcp?: boolean;
  /**
   * setns(2): the path of another network namespace, such as "/proc/4711/ns/net" or "/run/netns/blue". Needs
   * CAP_SYS_ADMIN. The socket stays in that namespace: its addresses, interfaces and port range are those of there.
   */
  readonly namespace?: string;
}

/** What accepted sockets get. */
export interface AcceptOptions {
  /**
   * Set on each accepted socket before anybody uses it. On Linux accepted sockets inherit nearly all options of the
   * listening one anyway.
   */
  readonly acceptedOptions?: Partial<SocketOptions>;
}

/** @internal The keys of OpenOptions that are not socket options. */
export const OPEN_KEYS = ["mptcp", "namespace"] as const satisfies readonly (keyof OpenOptions)[];

/** The name of a socket option here, such as "noDelay" for TCP_NODELAY. */
export type OptionName = keyof SocketOptions;
/** The value of any socket option. */
export type OptionValue = SocketOptions[OptionName];
