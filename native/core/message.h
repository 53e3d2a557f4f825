#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/address.h"
#include "core/result.h"
#include "core/syscall.h"

/// recvmsg(2): bytes, and what the kernel reports about them.
namespace core {

/// What the kernel reports in messages: errors by IP_RECVERR and IPV6_RECVERR, times by SO_TIMESTAMPING.
struct Reports {
  bool errors = false;
  bool received = false;
  bool sent = false;
  bool acknowledged = false;
  bool requested = false;  ///< The times of the messages for which send_stamped() requests them.
};
/// The times to report of one message.
struct Stamps {
  bool sent = false;
  bool acknowledged = false;
};

/// The source of a report in the error queue: ee_origin.
enum class Origin : int64_t { unknown, local, icmp, icmp6, timestamp };
/// The event of a timestamp in the error queue: ee_info.
enum class Stage : int64_t { none, sent, acknowledged };

/// What recvmsg(2) reported in addition to the bytes. Every field has 64 bits, because JavaScript reads them
/// as one array.
struct MessageFacts {
  int64_t is_truncated = 0;  ///< MSG_CTRUNC: the kernel had more to report.
  int64_t timestamp_ns = 0;  ///< Since 1970; 0 when there is none.
  int64_t has_error = 0;     ///< Whether the fields below are set, from struct sock_extended_err.
  int64_t error = 0;         ///< ee_errno, positive.
  Origin origin = Origin::unknown;
  int64_t type = 0;
  int64_t code = 0;
  int64_t info = 0;
  int64_t data = 0;
  Stage stage = Stage::none;
  int64_t has_offender = 0;  ///< Whether recvmsg() has set `offender`.
};

/// setsockopt(2), IP_RECVERR and IPV6_RECVERR, and SO_TIMESTAMPING with OPT_ID and OPT_TSONLY. Returns
/// -ENOSYS on other platforms than Linux.
Result set_reports(int fd, Reports reports);
/// sendmsg(2) with the control message SO_TIMESTAMPING. -ENOSYS on other platforms than Linux.
Result send_stamped(int fd, std::span<const std::span<const uint8_t>> buffers, Stamps stamps);
/// recvmsg(2). Returns how many bytes were read. With `error_queue`, MSG_ERRQUEUE: returns -EAGAIN when the
/// queue is empty.
Result recvmsg(int fd, std::span<uint8_t> bytes, Transfer flags, bool error_queue, MessageFacts* facts,
               Address* offender);

}  // namespace core
