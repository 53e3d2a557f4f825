#include "core/checked.h"

#include <cerrno>

#include "core/joined.h"
#include "core/option.h"
#include "core/syscall.h"

namespace core {

namespace {

Result connect_in(int fd, const Address& peer, std::span<const PortBounds> ranges) {
  Result result = ranges.empty() ? connect(fd, peer) : -EADDRNOTAVAIL;
  for (const PortBounds& range : ranges) {
    if (result != -EADDRNOTAVAIL) break;
    result = set_local_port_range(fd, range.low, range.high);
    if (result < 0) return result;
    result = connect(fd, peer);
  }
  return result;
}

}  // namespace

Result close_checked(int fd) {
  const Result joined = is_joined(fd);
  return joined > 0 || joined == -ENOTCONN ? reset(fd) : close(fd);
}

Result reset_at_close_if_joined(int fd) {
  const Result joined = is_joined(fd);
  if (joined <= 0) return joined;
  const Result set = set_reset_at_close(fd);
  return set < 0 ? set : 1;
}

Result end_joined(int fd) {
  // First, so that a kernel that refuses it does so before the caller waits.
  const Result set = set_reset_at_close(fd);
  if (set < 0) return set;
  const Result received = has_received_own(fd);
  if (received <= 0) return received;
  const Result ended = shutdown(fd, How::read);
  return ended < 0 ? ended : 1;
}

Result connect_checked(int fd, const Address& peer, std::span<const PortBounds> ranges, Address* local) {
  Result result = connect_in(fd, peer, ranges);
  // On loopback the reply has mostly arrived by now, and asking again is cheaper than waiting for the poller.
  // By connect(2), not by connect_progress(): a refused socket whose SO_ERROR was read needs one more
  // connect(2) before it connects again, and the next address of a batch gets this socket.
  if (result == -EINPROGRESS) result = connect(fd, peer);
  if (is_in_progress(result)) return kInProgress;
  if (result < 0 && result != -EISCONN) return result;
  result = getsockname(fd, local);
  if (result < 0) return result;
  const Result joined = is_joined(fd);
  return joined > 0 ? kJoined : joined;
}

}  // namespace core
