// errqueue.h uses timespec without declaring it, so that <ctime> must stand before it.
// clang-format off
#include <ctime>

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
// clang-format on
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "core/message.h"

namespace core {

namespace {

/// Memory for a timestamp and an extended error with the address of its offender, which need less than 200
/// bytes. Aligned for cmsghdr.
struct Control {
  alignas(cmsghdr) uint8_t bytes[512];
};

Result set_flag(int fd, int level, int number, unsigned value) {
  return setsockopt(fd, level, number, &value, sizeof value);
}

Origin origin_of(uint8_t origin) {
  switch (origin) {
    case SO_EE_ORIGIN_LOCAL:
      return Origin::local;
    case SO_EE_ORIGIN_ICMP:
      return Origin::icmp;
    case SO_EE_ORIGIN_ICMP6:
      return Origin::icmp6;
    case SO_EE_ORIGIN_TIMESTAMPING:
      return Origin::timestamp;
    default:
      return Origin::unknown;
  }
}

void read_timestamp(const uint8_t* data, MessageFacts* facts) {
  scm_timestamping times;
  std::memcpy(&times, data, sizeof times);
  facts->timestamp_ns = nanoseconds_of(times.ts[0]);
}

/// Reads the error, and after it the address of the host that reported it (SO_EE_OFFENDER).
void read_error(const uint8_t* data, size_t length, MessageFacts* facts, Address* offender) {
  sock_extended_err error;
  if (length < sizeof error) return;
  std::memcpy(&error, data, sizeof error);
  facts->has_error = 1;
  facts->error = error.ee_errno;
  facts->origin = origin_of(error.ee_origin);
  facts->type = error.ee_type;
  facts->code = error.ee_code;
  facts->info = error.ee_info;
  facts->data = error.ee_data;
  if (facts->origin == Origin::timestamp) {
    facts->stage = error.ee_info == SCM_TSTAMP_ACK ? Stage::acknowledged : Stage::sent;
  }
  sockaddr_storage storage{};
  std::memcpy(&storage, data + sizeof error, std::min(length - sizeof error, sizeof storage));
  facts->has_offender = from_sockaddr(storage, offender) ? 1 : 0;
}

void read_control(const cmsghdr& header, const uint8_t* data, MessageFacts* facts, Address* offender) {
  const size_t length = header.cmsg_len - CMSG_LEN(0);
  const bool is_time = header.cmsg_level == SOL_SOCKET && header.cmsg_type == SCM_TIMESTAMPING;
  const bool is_error = (header.cmsg_level == SOL_IP && header.cmsg_type == IP_RECVERR) ||
                        (header.cmsg_level == SOL_IPV6 && header.cmsg_type == IPV6_RECVERR);
  if (is_time && length >= sizeof(scm_timestamping)) read_timestamp(data, facts);
  if (is_error) read_error(data, length, facts, offender);
}

}  // namespace

Result set_reports(int fd, Reports reports) {
  unsigned times = 0;
  if (reports.received) times |= SOF_TIMESTAMPING_RX_SOFTWARE;
  if (reports.sent) times |= SOF_TIMESTAMPING_TX_SOFTWARE;
  if (reports.acknowledged) times |= SOF_TIMESTAMPING_TX_ACK;
  if (times != 0 || reports.requested) times |= SOF_TIMESTAMPING_SOFTWARE;
  if (reports.sent || reports.acknowledged || reports.requested)
    times |= SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
  // An IPv6 socket may have an IPv4 peer, whose errors IP_RECVERR turns on; an IPv4 socket has no
  // IPV6_RECVERR.
  const unsigned errors = reports.errors ? 1 : 0;
  Result result = set_flag(fd, SOL_IP, IP_RECVERR, errors);
  if (result >= 0) result = set_flag(fd, SOL_IPV6, IPV6_RECVERR, errors);
  if (result == -ENOPROTOOPT || result == -EOPNOTSUPP) result = 0;
  return result < 0 ? result : set_flag(fd, SOL_SOCKET, SO_TIMESTAMPING, times);
}

Result send_stamped(int fd, std::span<const std::span<const uint8_t>> buffers, Stamps stamps) {
  uint32_t times = 0;
  if (stamps.sent) times |= SOF_TIMESTAMPING_TX_SOFTWARE;
  if (stamps.acknowledged) times |= SOF_TIMESTAMPING_TX_ACK;
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof times)] = {};
  cmsghdr header{};
  header.cmsg_level = SOL_SOCKET;
  header.cmsg_type = SO_TIMESTAMPING;
  header.cmsg_len = CMSG_LEN(sizeof times);
  std::memcpy(control, &header, sizeof header);
  std::memcpy(control + CMSG_LEN(0), &times, sizeof times);
  return sendmsg(fd, buffers, control);
}

Result recvmsg(int fd, std::span<uint8_t> bytes, Transfer flags, bool error_queue, MessageFacts* facts,
               Address* offender) {
  Control control;
  iovec buffer = {bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &buffer;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const int words =
      (flags.peek ? MSG_PEEK : 0) | (flags.urgent ? MSG_OOB : 0) | (error_queue ? MSG_ERRQUEUE : 0);
  const Result result = or_errno(::recvmsg(fd, &message, words));
  if (result < 0) return result;
  facts->is_truncated = (message.msg_flags & MSG_CTRUNC) != 0 ? 1 : 0;
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    read_control(*one, CMSG_DATA(one), facts, offender);
  }
  return result;
}

}  // namespace core
