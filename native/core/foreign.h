#pragma once

#include "core/result.h"
#include "core/syscall.h"

/// Sockets that somebody else opened, and sockets that go to somebody else.
namespace core {

/// getsockname(2), SO_TYPE and SO_PROTOCOL, then O_NONBLOCK and FD_CLOEXEC: 0 when the fd is a TCP socket and
/// set so. -EBADF, -ENOTSOCK, or -EPROTONOSUPPORT for a socket of another kind.
Result check_inherited(int fd);

/// socket(2) in the network namespace that `namespace_fd` is; fails as run_in_namespace() does.
Result socket_in_namespace(int family, int namespace_fd, Protocol protocol);

/// Puts an fd on the shelf that all threads of the process share: a ticket, 1 or more, for one claim.
Result shelve(int fd);
/// Takes an fd from the shelf: -ENOENT when nothing is there under this ticket, or no more.
Result claim(int ticket);

}  // namespace core
