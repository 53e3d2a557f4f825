#pragma once

#include "core/address.h"
#include "core/result.h"

namespace core {

/// One side of a simultaneous open.
struct Side {
  int fd;
  Address peer;
  Result result;  ///< The result of begin_connect.
};

/// connect(2) of two sockets at the same moment, on two threads. Two SYNs cannot cross on loopback otherwise,
/// because a packet arrives there before the call that sends it returns. Returns -EAGAIN, and connects
/// nothing, when no thread can be created.
Result meet(Side* one, Side* other);

}  // namespace core
