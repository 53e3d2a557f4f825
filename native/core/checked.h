#pragma once

#include <cstdint>
#include <span>

#include "core/address.h"
#include "core/result.h"

namespace core {

/// Values of IP_LOCAL_PORT_RANGE; 0 is the namespace's own bound.
struct PortBounds {
  uint16_t low;
  uint16_t high;
};

/// What connect_checked returns besides 0, kInProgress and -errno.
inline constexpr Result kJoined = 2;

/// close(2). A socket that is joined to itself is reset, for TIME_WAIT would keep its port for a minute; so
/// is one that still connects, of which that is not known.
Result close_checked(int fd);

/// SO_LINGER {1, 0} for a socket that is joined to itself: whoever closes it, and the kernel when the process
/// ends, resets it. Returns 1 then; does nothing to another socket, and returns 0 or -errno.
Result reset_at_close_if_joined(int fd);

/// Ends the stream of a socket that is joined to itself, as shutdown(2) of the writing side does, but without
/// a FIN, after which TIME-WAIT would keep its port for a minute: sets SO_LINGER {1, 0}, then shuts down the
/// reading side, so that the reader gets the end of the stream after the last byte. Returns 1 when that is
/// done; 0 while bytes are on their way to the receive queue: call it again; -errno, and then does nothing.
Result end_joined(int fd);

/// connect(2) of a nonblocking socket, new or in progress, from the first of `ranges` that has a free port
/// (from any port when there are none). Returns 0 when it is connected and writes `local`; kJoined when it is
/// connected to itself; kInProgress; -errno, also when the kernel does not report to whom it is connected.
Result connect_checked(int fd, const Address& peer, std::span<const PortBounds> ranges, Address* local);

}  // namespace core
