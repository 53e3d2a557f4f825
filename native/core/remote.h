#pragma once

#include <cstdint>

#include "core/address.h"
#include "core/result.h"

/// Sockets of other processes, reached by pidfd_getfd(2). It needs Linux 5.6 and permission to trace the
/// process: -EPERM, -ESRCH when the process has ended, -EBADF when it has closed the fd.
namespace core {

/// getsockname(2) of a TCP socket of another process. -ENOTSOCK or -EPROTONOSUPPORT for any other descriptor.
Result local_name_of(int pid, int fd, Address* local);

/// connect(2) with AF_UNSPEC on a socket of another process: sends RST and leaves no TIME-WAIT. Its owner's
/// next call fails with ECONNRESET, and the port that bind(2) gave it stays bound until the owner closes it.
/// -ESTALE unless the socket has this cookie (SO_COOKIE) and is joined to itself at that moment.
Result disconnect_joined(int pid, int fd, const uint32_t cookie[2]);

}  // namespace core
