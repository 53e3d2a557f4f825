// The option table. Only this file and syscall.cc distinguish platforms by #ifdef.
#include "core/option.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#ifdef __linux__
#include <linux/in6.h>
#include <linux/tcp.h>
#else
#include <netinet/tcp.h>
#endif

#include "core/syscall.h"

// Linux options that the headers of older distributions do not define; the numbers are kernel ABI.
#ifdef __linux__
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#endif

// macOS has these options under other names.
#if !defined(TCP_KEEPIDLE) && defined(TCP_KEEPALIVE)
#define TCP_KEEPIDLE TCP_KEEPALIVE
#endif
#if !defined(TCP_CORK) && defined(TCP_NOPUSH)
#define TCP_CORK TCP_NOPUSH
#endif

// An option that a platform lacks stays in the table as kAbsent, and supported() returns false for it.
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT kAbsent
#endif
#ifndef IP_FREEBIND
#define IP_FREEBIND kAbsent
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE kAbsent
#endif
#ifndef IP_MINTTL
#define IP_MINTTL kAbsent
#endif
#ifndef IP_TRANSPARENT
#define IP_TRANSPARENT kAbsent
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND kAbsent
#endif
#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT kAbsent
#endif
#ifndef SO_BINDTODEVICE
#define SO_BINDTODEVICE kAbsent
#endif
#ifndef SO_BUSY_POLL
#define SO_BUSY_POLL kAbsent
#endif
#ifndef SO_COOKIE
#define SO_COOKIE kAbsent
#endif
#ifndef SO_DOMAIN
#define SO_DOMAIN kAbsent
#endif
#ifndef SO_INCOMING_CPU
#define SO_INCOMING_CPU kAbsent
#endif
#ifndef SO_MARK
#define SO_MARK kAbsent
#endif
#ifndef SO_MAX_PACING_RATE
#define SO_MAX_PACING_RATE kAbsent
#endif
#ifndef SO_PRIORITY
#define SO_PRIORITY kAbsent
#endif
#ifndef SO_PROTOCOL
#define SO_PROTOCOL kAbsent
#endif
#ifndef TCP_CONGESTION
#define TCP_CONGESTION kAbsent
#endif
#ifndef TCP_CORK
#define TCP_CORK kAbsent
#endif
#ifndef TCP_DEFER_ACCEPT
#define TCP_DEFER_ACCEPT kAbsent
#endif
#ifndef TCP_FASTOPEN
#define TCP_FASTOPEN kAbsent
#endif
#ifndef TCP_FASTOPEN_CONNECT
#define TCP_FASTOPEN_CONNECT kAbsent
#endif
#ifndef TCP_KEEPCNT
#define TCP_KEEPCNT kAbsent
#endif
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE kAbsent
#endif
#ifndef TCP_KEEPINTVL
#define TCP_KEEPINTVL kAbsent
#endif
#ifndef TCP_LINGER2
#define TCP_LINGER2 kAbsent
#endif
#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT kAbsent
#endif
#ifndef TCP_QUICKACK
#define TCP_QUICKACK kAbsent
#endif
#ifndef TCP_SAVE_SYN
#define TCP_SAVE_SYN kAbsent
#endif
#ifndef TCP_SYNCNT
#define TCP_SYNCNT kAbsent
#endif
#ifndef TCP_USER_TIMEOUT
#define TCP_USER_TIMEOUT kAbsent
#endif

namespace core {

namespace {

constexpr Option flag(const char* name, const char* constant, int level, int number, const char* since,
                      const char* manual, const char* capability = "") {
  return {name,       constant, level, number, Kind::flag, level == IPPROTO_IPV6, false, since, manual,
          capability, 1,        1,     "",     ""};
}

constexpr Option integer(const char* name, const char* constant, int level, int number, const char* since,
                         const char* manual, int64_t sample, const char* capability = "") {
  return {name,  constant, level,  number,     Kind::integer, level == IPPROTO_IPV6,
          false, since,    manual, capability, sample,        sample,
          "",    ""};
}

constexpr Option text(const char* name, const char* constant, int level, int number, const char* since,
                      const char* manual, const char* sample) {
  return {name, constant, level, number, Kind::text, false, false, since, manual, "", 0, 0, sample, ""};
}

constexpr Option of_kind(Kind kind, const char* name, const char* constant, int level, int number,
                         const char* since, const char* manual, int64_t sample = 0) {
  return {name, constant, level, number, kind, false, false, since, manual, "", sample, sample, "", ""};
}

constexpr Option read_only(Option row) {
  row.read_only = true;
  return row;
}

constexpr Option reads_back(int64_t value, const char* caveat, Option row) {
  row.reads_back = value;
  row.caveat = caveat;
  return row;
}

constexpr const char* kAdmin = "CAP_NET_ADMIN";

// clang-format off: a table is read by its columns.
constexpr Option kOptions[] = {
    // SOL_SOCKET
    flag("reuseAddress", "SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, "2.0", "socket(7)"),
    flag("reusePort", "SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, "3.9", "socket(7)"),
    of_kind(Kind::seconds, "lingerSeconds", "SO_LINGER", SOL_SOCKET, SO_LINGER, "2.0", "socket(7)", 5),
    flag("keepAlive", "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, "2.0", "socket(7)"),
    reads_back(2 * 30000, "Linux doubles it, for its own bookkeeping",
               integer("receiveBufferBytes", "SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, "2.0", "socket(7)", 30000)),
    reads_back(2 * 30000, "Linux doubles it, for its own bookkeeping",
               integer("sendBufferBytes", "SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, "2.0", "socket(7)", 30000)),
    integer("receiveLowWaterBytes", "SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, "2.4", "socket(7)", 7),
    text("device", "SO_BINDTODEVICE", SOL_SOCKET, SO_BINDTODEVICE, "2.0", "socket(7)", "lo"),
    integer("mark", "SO_MARK", SOL_SOCKET, SO_MARK, "2.6.25", "socket(7)", 7, kAdmin),
    integer("priority", "SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, "2.0", "socket(7)", 5),
    integer("incomingCpu", "SO_INCOMING_CPU", SOL_SOCKET, SO_INCOMING_CPU, "4.4", "socket(7)", 0),
    integer("busyPollUs", "SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, "3.11", "socket(7)", 7, kAdmin),
    of_kind(Kind::unsigned64, "maxPacingBytesPerSecond", "SO_MAX_PACING_RATE", SOL_SOCKET, SO_MAX_PACING_RATE,
            "3.13", "tc-fq(8)", 1000000),
    read_only(of_kind(Kind::unsigned64, "cookie", "SO_COOKIE", SOL_SOCKET, SO_COOKIE, "4.12", "socket(7)")),
    read_only(integer("protocol", "SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL, "2.6.32", "socket(7)", 0)),
    read_only(integer("domain", "SO_DOMAIN", SOL_SOCKET, SO_DOMAIN, "2.6.32", "socket(7)", 0)),
    read_only(flag("listening", "SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN, "2.0", "socket(7)")),
    // IPPROTO_IP; Linux takes these on IPv6 sockets too.
    flag("bindAddressNoPort", "IP_BIND_ADDRESS_NO_PORT", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, "4.2", "ip(7)"),
    of_kind(Kind::range, "localPortRange", "IP_LOCAL_PORT_RANGE", IPPROTO_IP, IP_LOCAL_PORT_RANGE, "6.3",
            "ip(7)"),
    flag("freeBind", "IP_FREEBIND", IPPROTO_IP, IP_FREEBIND, "2.4", "ip(7)"),
    flag("transparent", "IP_TRANSPARENT", IPPROTO_IP, IP_TRANSPARENT, "2.6.24", "ip(7)", kAdmin),
    integer("typeOfService", "IP_TOS", IPPROTO_IP, IP_TOS, "2.0", "ip(7)", 16),
    integer("timeToLive", "IP_TTL", IPPROTO_IP, IP_TTL, "2.0", "ip(7)", 42),
    integer("minTimeToLive", "IP_MINTTL", IPPROTO_IP, IP_MINTTL, "2.6.34", "ip(7)", 42),
    // IPPROTO_IPV6
    flag("ipv6Only", "IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, "2.4.21", "ipv6(7)"),
    integer("trafficClass", "IPV6_TCLASS", IPPROTO_IPV6, IPV6_TCLASS, "2.6.14", "RFC 3542", 16),
    integer("unicastHops", "IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, "2.2", "ipv6(7)", 42),
    integer("minHopCount", "IPV6_MINHOPCOUNT", IPPROTO_IPV6, IPV6_MINHOPCOUNT, "2.6.35", "RFC 5082", 42),
    flag("ipv6FreeBind", "IPV6_FREEBIND", IPPROTO_IPV6, IPV6_FREEBIND, "4.15", "ip(7), IP_FREEBIND"),
    // IPPROTO_TCP
    flag("noDelay", "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, "2.0", "tcp(7)"),
    flag("cork", "TCP_CORK", IPPROTO_TCP, TCP_CORK, "2.2", "tcp(7)"),
    flag("quickAck", "TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK, "2.4.4", "tcp(7)"),
    integer("maxSegmentBytes", "TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, "2.0", "tcp(7)", 1000),
    integer("synRetries", "TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, "2.4", "tcp(7)", 3),
    integer("userTimeoutMs", "TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, "2.6.37", "tcp(7)", 5000),
    integer("keepAliveIdleSeconds", "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, "2.4", "tcp(7)", 42),
    integer("keepAliveIntervalSeconds", "TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, "2.4", "tcp(7)", 42),
    integer("keepAliveProbes", "TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, "2.4", "tcp(7)", 3),
    integer("finWait2Seconds", "TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, "2.4", "tcp(7)", 42),
    integer("deferAcceptSeconds", "TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, "2.4", "tcp(7)", 3),
    integer("fastOpenBacklog", "TCP_FASTOPEN", IPPROTO_TCP, TCP_FASTOPEN, "3.7", "tcp(7)", 5),
    flag("fastOpenConnect", "TCP_FASTOPEN_CONNECT", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, "4.11", "tcp(7)"),
    text("congestion", "TCP_CONGESTION", IPPROTO_TCP, TCP_CONGESTION, "2.6.13", "tcp(7)", "reno"),
    integer("notSentLowWaterBytes", "TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, "3.12", "tcp(7)",
            16384),
    read_only(of_kind(Kind::structure, "information", "TCP_INFO", IPPROTO_TCP, TCP_INFO, "2.4", "tcp(7)")),
    flag("saveSyn", "TCP_SAVE_SYN", IPPROTO_TCP, TCP_SAVE_SYN, "4.2", "tcp(7)"),
};
// clang-format on

struct Field {
  const char* name;
  size_t offset;
  size_t size;
};

#ifdef __linux__
#define FIELD(name, member) \
  Field { name, offsetof(tcp_info, member), sizeof(tcp_info::member) }
// struct tcp_info of linux/tcp.h without its bit-fields, which have no offset in C++.
constexpr Field kFields[] = {
    FIELD("state", tcpi_state),
    FIELD("congestionState", tcpi_ca_state),
    FIELD("retransmits", tcpi_retransmits),
    FIELD("probes", tcpi_probes),
    FIELD("backoff", tcpi_backoff),
    FIELD("options", tcpi_options),
    FIELD("retransmitTimeoutUs", tcpi_rto),
    FIELD("ackTimeoutUs", tcpi_ato),
    FIELD("sendSegmentBytes", tcpi_snd_mss),
    FIELD("receiveSegmentBytes", tcpi_rcv_mss),
    FIELD("unacknowledgedPackets", tcpi_unacked),
    FIELD("sackedPackets", tcpi_sacked),
    FIELD("lostPackets", tcpi_lost),
    FIELD("retransmittedPackets", tcpi_retrans),
    FIELD("lastDataSentMs", tcpi_last_data_sent),
    FIELD("lastDataReceivedMs", tcpi_last_data_recv),
    FIELD("lastAckReceivedMs", tcpi_last_ack_recv),
    FIELD("pathMtuBytes", tcpi_pmtu),
    FIELD("receiveSlowStartThresholdBytes", tcpi_rcv_ssthresh),
    FIELD("roundTripTimeUs", tcpi_rtt),
    FIELD("roundTripVariationUs", tcpi_rttvar),
    FIELD("sendSlowStartThresholdPackets", tcpi_snd_ssthresh),
    FIELD("congestionWindowPackets", tcpi_snd_cwnd),
    FIELD("advertisedSegmentBytes", tcpi_advmss),
    FIELD("reordering", tcpi_reordering),
    FIELD("receiveRoundTripTimeUs", tcpi_rcv_rtt),
    FIELD("receiveSpaceBytes", tcpi_rcv_space),
    FIELD("totalRetransmits", tcpi_total_retrans),
    FIELD("pacingBytesPerSecond", tcpi_pacing_rate),
    FIELD("maxPacingBytesPerSecond", tcpi_max_pacing_rate),
    FIELD("bytesAcknowledged", tcpi_bytes_acked),
    FIELD("bytesReceived", tcpi_bytes_received),
    FIELD("segmentsOut", tcpi_segs_out),
    FIELD("segmentsIn", tcpi_segs_in),
    FIELD("notSentBytes", tcpi_notsent_bytes),
    FIELD("minRoundTripTimeUs", tcpi_min_rtt),
    FIELD("dataSegmentsIn", tcpi_data_segs_in),
    FIELD("dataSegmentsOut", tcpi_data_segs_out),
    FIELD("deliveryBytesPerSecond", tcpi_delivery_rate),
    FIELD("busyUs", tcpi_busy_time),
    FIELD("receiveWindowLimitedUs", tcpi_rwnd_limited),
    FIELD("sendBufferLimitedUs", tcpi_sndbuf_limited),
    FIELD("deliveredPackets", tcpi_delivered),
    FIELD("deliveredCongestionMarkedPackets", tcpi_delivered_ce),
    FIELD("bytesSent", tcpi_bytes_sent),
    FIELD("bytesRetransmitted", tcpi_bytes_retrans),
    FIELD("duplicateSacks", tcpi_dsack_dups),
    FIELD("reorderSeen", tcpi_reord_seen),
    FIELD("receivedOutOfOrderPackets", tcpi_rcv_ooopack),
    FIELD("sendWindowBytes", tcpi_snd_wnd),
};
#undef FIELD
using Information = tcp_info;
// include/net/tcp_states.h: netinet/tcp.h defines its enumerators, but linux/tcp.h does not.
constexpr const char* kStates[] = {"",           "ESTABLISHED", "SYN-SENT",  "SYN-RECEIVED",
                                   "FIN-WAIT-1", "FIN-WAIT-2",  "TIME-WAIT", "CLOSED",
                                   "CLOSE-WAIT", "LAST-ACK",    "LISTEN",    "CLOSING"};
#else
// FreeBSD's struct tcp_info has other members; only the state is read there.
struct Information {
  uint8_t state;
};
constexpr Field kFields[] = {Field{"state", 0, 1}};
// netinet/tcp_fsm.h.
constexpr const char* kStates[] = {"CLOSED",      "LISTEN",     "SYN-SENT",   "SYN-RECEIVED",
                                   "ESTABLISHED", "CLOSE-WAIT", "FIN-WAIT-1", "CLOSING",
                                   "LAST-ACK",    "FIN-WAIT-2", "TIME-WAIT"};
#endif

constexpr size_t kFieldCount = sizeof kFields / sizeof kFields[0];

int64_t read_field(const unsigned char* bytes, size_t size) {
  if (size == 1) return *bytes;
  if (size == 4) {
    uint32_t value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  int64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

Result get_information(int fd, const Option& option, int64_t* values, size_t capacity) {
  Information information;
  const Result length = getsockopt(fd, option.level, option.number, &information, sizeof information);
  if (length < 0) return length;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&information);
  size_t count = 0;
  for (const Field& field : kFields) {
    const bool known = field.offset + field.size <= static_cast<size_t>(length);
    if (!known || count == capacity) break;
    values[count++] = read_field(bytes + field.offset, field.size);
  }
  return static_cast<Result>(count);
}

/// A kernel that stores the option as an unsigned long of 32 bits returns four bytes.
Result get_unsigned(int fd, const Option& option, int64_t* value) {
  uint64_t wide = 0;
  const Result length = getsockopt(fd, option.level, option.number, &wide, sizeof wide);
  if (length < 0) return length;
  std::memcpy(value, &wide, sizeof wide);
  return 1;
}

}  // namespace

std::span<const Option> options() { return kOptions; }

Result get_numbers(int fd, const Option& option, int64_t* values, size_t capacity) {
  if (option.number == kAbsent) return -ENOPROTOOPT;
  if (capacity < 2) return -EINVAL;
  if (option.kind == Kind::structure) return get_information(fd, option, values, capacity);
  if (option.kind == Kind::unsigned64) return get_unsigned(fd, option, values);
  if (option.kind == Kind::seconds) {
    linger value{};
    const Result result = getsockopt(fd, option.level, option.number, &value, sizeof value);
    values[0] = value.l_onoff;
    values[1] = value.l_linger;
    return result < 0 ? result : 2;
  }
  int value = 0;
  const Result result = getsockopt(fd, option.level, option.number, &value, sizeof value);
  if (result < 0) return result;
  if (option.kind == Kind::range) {
    values[0] = static_cast<uint32_t>(value) & 0xffff;
    values[1] = static_cast<uint32_t>(value) >> 16;
    return 2;
  }
  values[0] = option.kind == Kind::flag ? value != 0 : value;
  return 1;
}

Result set_numbers(int fd, const Option& option, const int64_t* values, size_t count) {
  if (option.number == kAbsent) return -ENOPROTOOPT;
  if (count < 2) return -EINVAL;
  switch (option.kind) {
    case Kind::flag:
    case Kind::integer: {
      const int value = static_cast<int>(values[0]);
      return setsockopt(fd, option.level, option.number, &value, sizeof value);
    }
    case Kind::unsigned64: {
      const auto value = static_cast<uint64_t>(values[0]);
      return setsockopt(fd, option.level, option.number, &value, sizeof value);
    }
    case Kind::seconds: {
      const linger value = {static_cast<int>(values[0]), static_cast<int>(values[1])};
      return setsockopt(fd, option.level, option.number, &value, sizeof value);
    }
    case Kind::range: {
      const auto value = static_cast<uint32_t>(values[0] & 0xffff) | static_cast<uint32_t>(values[1] & 0xffff)
                                                                         << 16;
      return setsockopt(fd, option.level, option.number, &value, sizeof value);
    }
    case Kind::text:
    case Kind::structure:
      return -EINVAL;
  }
  return -EINVAL;
}

Result get_text(int fd, const Option& option, char* bytes, size_t capacity) {
  if (option.number == kAbsent) return -ENOPROTOOPT;
  const Result length = getsockopt(fd, option.level, option.number, bytes, capacity);
  return length < 0 ? length : static_cast<Result>(strnlen(bytes, static_cast<size_t>(length)));
}

Result set_text(int fd, const Option& option, const char* bytes, size_t length) {
  if (option.number == kAbsent) return -ENOPROTOOPT;
  return setsockopt(fd, option.level, option.number, bytes, length);
}

Result set_local_port_range(int fd, uint16_t low, uint16_t high) {
  for (const Option& option : kOptions) {
    if (option.kind != Kind::range) continue;
    const int64_t bounds[] = {low, high};
    return set_numbers(fd, option, bounds, 2);
  }
  return -ENOPROTOOPT;
}

std::span<const char* const> information_fields() {
  static const auto names = [] {
    struct Names {
      const char* of[kFieldCount];
    } names{};
    for (size_t i = 0; i < kFieldCount; i++) names.of[i] = kFields[i].name;
    return names;
  }();
  return names.of;
}

std::span<const char* const> tcp_states() { return kStates; }

}  // namespace core
