#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string_view>

#include "core/structure.h"
#include "core/syscall.h"

namespace core {

namespace {

/// struct tcp_info of linux/tcp.h as Linux 6.18 has it: members were only ever added at the end, and the
/// headers of a build may have fewer.
struct Information {
  uint8_t state, ca_state, retransmits, probes, backoff, options;
  uint8_t snd_wscale : 4, rcv_wscale : 4;
  uint8_t delivery_rate_app_limited : 1, fastopen_client_fail : 2;
  uint32_t rto, ato, snd_mss, rcv_mss;
  uint32_t unacked, sacked, lost, retrans, fackets;
  uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
  uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
  uint32_t rcv_rtt, rcv_space, total_retrans;
  uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
  uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
  uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
  uint32_t delivered, delivered_ce;
  uint64_t bytes_sent, bytes_retrans;
  uint32_t dsack_dups, reord_seen, rcv_ooopack, snd_wnd;
  uint32_t rcv_wnd, rehash;                                                          // 6.2
  uint16_t total_rto, total_rto_recoveries;                                          // 6.7
  uint32_t total_rto_time;                                                           // 6.7
  uint32_t received_ce, delivered_e1_bytes, delivered_e0_bytes, delivered_ce_bytes;  // 6.18
  uint32_t received_e1_bytes, received_e0_bytes, received_ce_bytes;                  // 6.18
  uint16_t accecn_fail_mode, accecn_opt_seen;                                        // 6.18
};
static_assert(sizeof(Information) == 280);

/// The structs of linux/inet_diag.h that TCP_CC_INFO returns; which one, depends on the congestion control.
struct Bbr {
  uint32_t bw_lo, bw_hi, min_rtt, pacing_gain, cwnd_gain;
};
struct Dctcp {
  uint16_t enabled, ce_state;
  uint32_t alpha, ab_ecn, ab_tot;
};
struct Vegas {
  uint32_t enabled, rttcnt, rtt, minrtt;
};
/// SK_MEMINFO_… of linux/sock_diag.h.
struct Memory {
  uint32_t rmem_alloc, rcvbuf, wmem_alloc, sndbuf, fwd_alloc, wmem_queued, optmem, backlog, drops;
};

template <class Struct>
struct Field {
  const char* name;
  size_t end;  ///< How many bytes of the struct a kernel that knows the field returns.
  int64_t (*read)(const Struct&);
};

// Bit-fields have no offset: `after` is the first member behind them.
#define BITS(type, name, member, after)                                                         \
  Field<type> {                                                                                 \
    name, offsetof(type, after), [](const type& of) { return static_cast<int64_t>(of.member); } \
  }
#define FIELD(type, name, member)                                      \
  Field<type> {                                                        \
    name, offsetof(type, member) + sizeof(type::member),               \
        [](const type& of) { return static_cast<int64_t>(of.member); } \
  }

constexpr Field<Information> kInformation[] = {
    FIELD(Information, "state", state),
    FIELD(Information, "congestionState", ca_state),
    FIELD(Information, "retransmits", retransmits),
    FIELD(Information, "probes", probes),
    FIELD(Information, "backoff", backoff),
    FIELD(Information, "options", options),
    BITS(Information, "sendWindowScale", snd_wscale, rto),
    BITS(Information, "receiveWindowScale", rcv_wscale, rto),
    BITS(Information, "applicationLimited", delivery_rate_app_limited, rto),
    BITS(Information, "fastOpenFailure", fastopen_client_fail, rto),
    FIELD(Information, "retransmitTimeoutUs", rto),
    FIELD(Information, "ackTimeoutUs", ato),
    FIELD(Information, "sendSegmentBytes", snd_mss),
    FIELD(Information, "receiveSegmentBytes", rcv_mss),
    FIELD(Information, "unacknowledgedPackets", unacked),
    FIELD(Information, "sackedPackets", sacked),
    FIELD(Information, "lostPackets", lost),
    FIELD(Information, "retransmittedPackets", retrans),
    FIELD(Information, "lastDataSentMs", last_data_sent),
    FIELD(Information, "lastDataReceivedMs", last_data_recv),
    FIELD(Information, "lastAckReceivedMs", last_ack_recv),
    FIELD(Information, "pathMtuBytes", pmtu),
    FIELD(Information, "receiveSlowStartThresholdBytes", rcv_ssthresh),
    FIELD(Information, "roundTripTimeUs", rtt),
    FIELD(Information, "roundTripVariationUs", rttvar),
    FIELD(Information, "sendSlowStartThresholdPackets", snd_ssthresh),
    FIELD(Information, "congestionWindowPackets", snd_cwnd),
    FIELD(Information, "advertisedSegmentBytes", advmss),
    FIELD(Information, "reordering", reordering),
    FIELD(Information, "receiveRoundTripTimeUs", rcv_rtt),
    FIELD(Information, "receiveSpaceBytes", rcv_space),
    FIELD(Information, "totalRetransmits", total_retrans),
    FIELD(Information, "pacingBytesPerSecond", pacing_rate),
    FIELD(Information, "maxPacingBytesPerSecond", max_pacing_rate),
    FIELD(Information, "bytesAcknowledged", bytes_acked),
    FIELD(Information, "bytesReceived", bytes_received),
    FIELD(Information, "segmentsOut", segs_out),
    FIELD(Information, "segmentsIn", segs_in),
    FIELD(Information, "notSentBytes", notsent_bytes),
    FIELD(Information, "minRoundTripTimeUs", min_rtt),
    FIELD(Information, "dataSegmentsIn", data_segs_in),
    FIELD(Information, "dataSegmentsOut", data_segs_out),
    FIELD(Information, "deliveryBytesPerSecond", delivery_rate),
    FIELD(Information, "busyUs", busy_time),
    FIELD(Information, "receiveWindowLimitedUs", rwnd_limited),
    FIELD(Information, "sendBufferLimitedUs", sndbuf_limited),
    FIELD(Information, "deliveredPackets", delivered),
    FIELD(Information, "deliveredCongestionMarkedPackets", delivered_ce),
    FIELD(Information, "bytesSent", bytes_sent),
    FIELD(Information, "bytesRetransmitted", bytes_retrans),
    FIELD(Information, "duplicateSacks", dsack_dups),
    FIELD(Information, "reorderSeen", reord_seen),
    FIELD(Information, "receivedOutOfOrderPackets", rcv_ooopack),
    FIELD(Information, "sendWindowBytes", snd_wnd),
    FIELD(Information, "receiveWindowBytes", rcv_wnd),
    FIELD(Information, "rehashes", rehash),
    FIELD(Information, "retransmitTimeouts", total_rto),
    FIELD(Information, "retransmitTimeoutRecoveries", total_rto_recoveries),
    FIELD(Information, "retransmitTimeoutRecoveryMs", total_rto_time),
    FIELD(Information, "receivedCongestionMarkedPackets", received_ce),
    FIELD(Information, "deliveredEct1Bytes", delivered_e1_bytes),
    FIELD(Information, "deliveredEct0Bytes", delivered_e0_bytes),
    FIELD(Information, "deliveredCongestionMarkedBytes", delivered_ce_bytes),
    FIELD(Information, "receivedEct1Bytes", received_e1_bytes),
    FIELD(Information, "receivedEct0Bytes", received_e0_bytes),
    FIELD(Information, "receivedCongestionMarkedBytes", received_ce_bytes),
    FIELD(Information, "accurateEcnFailure", accecn_fail_mode),
    FIELD(Information, "accurateEcnOptionSeen", accecn_opt_seen),
};

constexpr Field<Bbr> kBbr[] = {
    Field<Bbr>{"bandwidthBytesPerSecond", offsetof(Bbr, min_rtt),
               [](const Bbr& of) { return static_cast<int64_t>(uint64_t{of.bw_hi} << 32 | of.bw_lo); }},
    FIELD(Bbr, "minRoundTripTimeUs", min_rtt),
    FIELD(Bbr, "pacingGain256ths", pacing_gain),
    FIELD(Bbr, "congestionWindowGain256ths", cwnd_gain),
};
constexpr Field<Dctcp> kDctcp[] = {
    FIELD(Dctcp, "dctcpEnabled", enabled),          FIELD(Dctcp, "dctcpCongestionMarked", ce_state),
    FIELD(Dctcp, "dctcpAlpha1024ths", alpha),       FIELD(Dctcp, "dctcpMarkedBytes", ab_ecn),
    FIELD(Dctcp, "dctcpAcknowledgedBytes", ab_tot),
};
constexpr Field<Vegas> kVegas[] = {
    FIELD(Vegas, "vegasEnabled", enabled),
    FIELD(Vegas, "vegasRoundTrips", rttcnt),
    FIELD(Vegas, "vegasRoundTripTimeUs", rtt),
    FIELD(Vegas, "vegasMinRoundTripTimeUs", minrtt),
};
constexpr Field<Memory> kMemory[] = {
    FIELD(Memory, "receiveAllocatedBytes", rmem_alloc),
    FIELD(Memory, "receiveBufferBytes", rcvbuf),
    FIELD(Memory, "sendAllocatedBytes", wmem_alloc),
    FIELD(Memory, "sendBufferBytes", sndbuf),
    FIELD(Memory, "forwardAllocatedBytes", fwd_alloc),
    FIELD(Memory, "sendQueuedBytes", wmem_queued),
    FIELD(Memory, "optionBytes", optmem),
    FIELD(Memory, "backlogBytes", backlog),
    FIELD(Memory, "drops", drops),
};
#undef FIELD
#undef BITS

/// The names of several lists of fields, one list after another.
template <const auto&... Lists>
struct Names {
  const char* of[(std::size(Lists) + ...)];
  constexpr Names() : of{} {
    size_t count = 0;
    const auto append = [&](const auto& fields) {
      for (const auto& field : fields) of[count++] = field.name;
    };
    (append(Lists), ...);
  }
};
constexpr Names<kInformation> kInformationNames;
constexpr Names<kBbr, kDctcp, kVegas> kCongestionNames;
constexpr Names<kMemory> kMemoryNames;

/// Reads a struct into one integer for each field. Returns how many there are.
template <class Struct, size_t Count>
Result read_fields(int fd, const Option& option, const Field<Struct> (&fields)[Count],
                   std::span<int64_t> values) {
  Struct value{};
  const Result length = getsockopt(fd, option.level, option.number, &value, sizeof value);
  if (length < 0) return length;
  if (values.size() < Count) return -EINVAL;
  for (size_t i = 0; i < Count; i++) {
    values[i] = fields[i].end <= static_cast<size_t>(length) ? fields[i].read(value) : kNoField;
  }
  return static_cast<Result>(Count);
}

/// Which struct it is, the kernel does not report: TCP_CONGESTION names the algorithm.
Result read_congestion(int fd, const Option& option, std::span<int64_t> values) {
  if (values.size() < std::size(kCongestionNames.of)) return -EINVAL;
  for (int64_t& value : values) value = kNoField;
  char name[16] = "";
  const Result length = getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, sizeof name - 1);
  if (length < 0) return length;
  const std::string_view algorithm = name;
  Result result = 0;
  if (algorithm.starts_with("bbr")) {
    result = read_fields(fd, option, kBbr, values);
  } else if (algorithm.starts_with("dctcp")) {
    result = read_fields(fd, option, kDctcp, values.subspan(std::size(kBbr)));
  } else {
    // Vegas, and those that report as Vegas does: veno, westwood, yeah, illinois, nv. Of the others nothing
    // is read.
    result = read_fields(fd, option, kVegas, values.subspan(std::size(kBbr) + std::size(kDctcp)));
  }
  return result < 0 ? result : static_cast<Result>(std::size(kCongestionNames.of));
}

// include/net/tcp_states.h, whose enumerators netinet/tcp.h and linux/tcp.h do not both give.
constexpr const char* kStates[] = {"",           "ESTABLISHED", "SYN-SENT",  "SYN-RECEIVED",
                                   "FIN-WAIT-1", "FIN-WAIT-2",  "TIME-WAIT", "CLOSED",
                                   "CLOSE-WAIT", "LAST-ACK",    "LISTEN",    "CLOSING"};

}  // namespace

std::span<const char* const> information_fields() { return kInformationNames.of; }
std::span<const char* const> congestion_fields() { return kCongestionNames.of; }
std::span<const char* const> memory_fields() { return kMemoryNames.of; }
std::span<const char* const> tcp_states() { return kStates; }

Result get_structure(int fd, const Option& option, int64_t* values, size_t capacity) {
  const std::span room(values, capacity);
  if (option.fields == information_fields) return read_fields(fd, option, kInformation, room);
  if (option.fields == memory_fields) return read_fields(fd, option, kMemory, room);
  return read_congestion(fd, option, room);
}

Result set_signature(int fd, const Option& option, const Address& peer, const uint8_t* key, size_t length) {
  tcp_md5sig value{};
  static_assert(sizeof value.tcpm_key == kMostKeyBytes);
  if (length > sizeof value.tcpm_key) return -EINVAL;
  sockaddr_storage storage;
  to_sockaddr(peer, &storage);
  std::memcpy(&value.tcpm_addr, &storage, sizeof storage);
  value.tcpm_keylen = static_cast<uint16_t>(length);
  if (length > 0) std::memcpy(value.tcpm_key, key, length);
  return setsockopt(fd, option.level, option.number, &value, sizeof value);
}

Result set_program(int fd, const Option& option, const uint8_t* instructions, size_t length) {
  sock_filter steps[BPF_MAXINSNS];
  const size_t count = length / sizeof(sock_filter);
  if (length % sizeof(sock_filter) != 0 || count > BPF_MAXINSNS) return -EINVAL;
  if (length > 0) std::memcpy(steps, instructions, length);
  const sock_fprog program = {static_cast<unsigned short>(count), steps};
  return setsockopt(fd, option.level, option.number, &program, sizeof program);
}

}  // namespace core
