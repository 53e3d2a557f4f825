#pragma once

#include "core/address.h"
#include "core/result.h"

namespace core {

/// One side of a simultaneous open.
struct Side {
  int fd;
  Address peer;
  Result answer;  ///< What begin_connect said.
};

/// connect(2) of two sockets at the same moment, on two threads: only so can two SYN cross each other on
/// loopback, where a packet arrives before the call that sent it returns. -EAGAIN, and no connect, when there
/// is no thread to give.
Result meet(Side* one, Side* other);

}  // namespace core
