#pragma once

#include "core/address.h"
#include "core/result.h"

namespace core {

/// Whether the socket is joined to itself: 1, 0, or -errno when that is unknown (-ENOTCONN while it
/// connects). On Linux the kernel's own four-tuple decides: a cgroup hook (a load balancer between socket and
/// network) may have replaced the peer at connect(2), and replaces it back in what getpeername(2) returns.
Result is_joined(int fd);

/// What connect_progress returns besides 0, kInProgress and -errno.
inline constexpr Result kConnectedApart = 2;

/// How a connect(2) of a nonblocking socket stands: 0 when it is connected, kConnectedApart when that is
/// moreover proven not to be to itself; kInProgress; or the -errno with which it ended, once (SO_ERROR, which
/// this clears). It is kInProgress too when the SYN leaves with the first send(2) (TCP_FASTOPEN_CONNECT), and
/// when other code has read SO_ERROR.
Result connect_progress(int fd);

/// connect_progress() by SO_ERROR, then getpeername(2), where the kernel has no TCP_INFO. It proves nothing.
Result named_progress(int fd);

/// Whether all that a socket joined to itself has sent is in its own receive queue, or read: 1, 0, or -errno;
/// -ENOSYS where shutdown(2) of the reading side would throw that queue away (every system but Linux).
Result has_received_own(int fd);

/// Whether getsockname(2) equals getpeername(2): 1, 0, or -errno. Writes `local` unless getsockname(2) fails.
Result has_own_name(int fd, Address* local);

}  // namespace core
