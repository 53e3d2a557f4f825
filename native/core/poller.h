#pragma once

#include <cstdint>
#include <vector>

#include "core/result.h"
#include "core/syscall.h"

/// Waiting for sockets: epoll(7) on Linux, kqueue(2) on macOS and the BSDs.
namespace core {

/// epoll_create1(2); kqueue(2) on macOS and the BSDs.
Result poller_create();
/// epoll_ctl(2), EPOLLET: reports `token` now if the fd is ready, and at each change after that. Not
/// EPOLLONESHOT: a report in the error queue keeps a socket ready, and each renewed watch would report it
/// again.
Result poller_watch(int poller, int fd, Directions directions, uint64_t token);
/// epoll_ctl(2), EPOLL_CTL_DEL: ends a watch.
Result poller_unwatch(int poller, int fd);
/// epoll_wait(2) without a timeout: appends the tokens that became ready, and returns how many.
Result poller_wait(int poller, std::vector<uint64_t>* tokens);

}  // namespace core
