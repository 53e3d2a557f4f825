#pragma once

#include <cstdint>

#include "core/address.h"
#include "core/result.h"

/// Sockets of other processes, reached by pidfd_getfd(2). It needs Linux 5.6 and permission to trace the
/// process: -EPERM, -ESRCH when the process has ended, -EBADF when it has closed the fd.
namespace core {

/// getsockname(2) of a TCP socket of another process. -ENOTSOCK or -EPROTONOSUPPORT for any other descriptor.
Result local_name_of(int pid, int fd, Address* local);

/// Distinguishes one socket of another process from any that took its descriptor since.
struct RemoteIdentity {
  uint32_t inode;
  uint32_t cookie[2];  ///< SO_COOKIE; two zeros where it is not known (/proc/net/tcp).
};

/// connect(2) with AF_UNSPEC on a socket of another process: sends RST and leaves no TIME-WAIT. Its owner's
/// next call fails with ECONNRESET, and the port that bind(2) gave it stays bound until the owner closes it.
/// -ESTALE unless it is this socket and joined to itself at that moment.
Result disconnect_joined(int pid, int fd, const RemoteIdentity& identity);

}  // namespace core
