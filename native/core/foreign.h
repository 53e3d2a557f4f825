#pragma once

#include <functional>

#include "core/result.h"
#include "core/syscall.h"

/// Sockets that somebody else opened, and sockets that go to somebody else.
namespace core {

/// getsockname(2), SO_TYPE and SO_PROTOCOL, then O_NONBLOCK and FD_CLOEXEC: 0 when the fd is a TCP socket and
/// set so. -EBADF, -ENOTSOCK, or -EPROTONOSUPPORT for a socket of another kind.
Result check_inherited(int fd);

/// setns(2) on a new thread, then `work` there: what it opens belongs to the network namespace that
/// `namespace_fd` is. No other thread's namespace changes. -EAGAIN when no thread can be created, -EPERM or
/// -EINVAL by setns, -ENOSYS where there are no namespaces.
Result run_in_namespace(int namespace_fd, const std::function<Result()>& work);

/// socket(2) in the network namespace that `namespace_fd` is; fails as run_in_namespace() does.
Result socket_in_namespace(int family, int namespace_fd, Protocol protocol);

/// Puts an fd on the shelf that all threads of the process share: a ticket, 1 or more, for one claim.
Result shelve(int fd);
/// Takes an fd from the shelf: -ENOENT when nothing is there under this ticket, or no more.
Result claim(int ticket);

}  // namespace core
