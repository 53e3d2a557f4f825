#pragma once

#include "core/address.h"
#include "core/result.h"

namespace core {

/// Whether the socket is joined to itself: 1, 0, or -errno when that is unknown (-ENOTCONN while it
/// connects). On Linux the kernel's own four-tuple decides: a cgroup hook (a load balancer between socket and
/// network) may have replaced the peer at connect(2), and replaces it back in what getpeername(2) returns.
Result is_joined(int fd);

/// Whether getsockname(2) equals getpeername(2): 1, 0, or -errno. Writes `local` unless getsockname(2) fails.
Result has_own_name(int fd, Address* local);

}  // namespace core
