#pragma once

#include "core/address.h"
#include "core/result.h"

namespace core {

/// Whether the socket is joined to itself: 1, 0, or -errno when that is unknown (-ENOTCONN while it
/// connects). getsockname(2) and getpeername(2) come first. Where they differ, the kernel's own four-tuple
/// decides: a cgroup hook (a load balancer between socket and network) may have replaced the peer at
/// connect(2), and replaces it back in what getpeername(2) returns.
Result is_joined(int fd);

/// The part of is_joined() that does not rely on getpeername(2). `local` is from getsockname(2). -ENOSYS on
/// other platforms than Linux, which have no such hook.
Result is_joined_in_kernel(int fd, const Address& local);

}  // namespace core
