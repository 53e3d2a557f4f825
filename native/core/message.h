#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/address.h"
#include "core/result.h"
#include "core/syscall.h"

/// recvmsg(2): the bytes, and what the kernel reports beside them.
namespace core {

/// What the kernel shall tell in messages from now on: of errors IP_RECVERR or IPV6_RECVERR, of times
/// SO_TIMESTAMPING.
struct Reports {
  bool errors = false;
  bool received = false;
  bool sent = false;
  bool acknowledged = false;
};

/// Who put a message into the error queue: ee_origin.
enum class Origin : int64_t { unknown, local, icmp, icmp6, timestamp };
/// Of what an error queue's timestamp is the time: ee_info.
enum class Stage : int64_t { none, sent, acknowledged };

/// What recvmsg(2) reported beside the bytes. Words of 64 bits: JavaScript reads them as one array.
struct MessageFacts {
  int64_t is_cut = 0;        ///< MSG_CTRUNC: there was more than is reported here.
  int64_t timestamp_ns = 0;  ///< Since 1970; 0 when there is none.
  int64_t has_error = 0;     ///< Whether the rest is told: struct sock_extended_err.
  int64_t error = 0;         ///< ee_errno, positive.
  Origin origin = Origin::unknown;
  int64_t type = 0;
  int64_t code = 0;
  int64_t info = 0;
  int64_t data = 0;
  Stage stage = Stage::none;
  int64_t has_offender = 0;  ///< Whether the address is filled in.
};

/// setsockopt(2), IP_RECVERR or IPV6_RECVERR, and SO_TIMESTAMPING with OPT_ID and OPT_TSONLY. -ENOSYS where
/// there are none.
Result set_reports(int fd, Reports reports);
/// recvmsg(2): the bytes read. With `error_queue` MSG_ERRQUEUE: -EAGAIN when the queue is empty.
Result recvmsg(int fd, std::span<uint8_t> bytes, Transfer flags, bool error_queue, MessageFacts* facts,
               Address* offender);

}  // namespace core
