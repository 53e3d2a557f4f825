#pragma once

#include <cstdint>
#include <vector>

#include "core/result.h"

/// Waiting for sockets: epoll(7) on Linux, kqueue(2) on macOS and the BSDs.
namespace core {

/// epoll_create1(2); kqueue(2) on macOS and the BSDs.
Result poller_create();
/// epoll_ctl(2), EPOLLOUT | EPOLLONESHOT: tell once, by `token`, when a connect on the fd has ended.
Result poller_watch(int poller, int fd, uint64_t token);
/// epoll_ctl(2), EPOLL_CTL_DEL.
Result poller_unwatch(int poller, int fd);
/// Watches the read end of a pipe, for waking the waiter.
Result poller_watch_readable(int poller, int fd, uint64_t token);
/// epoll_wait(2) without a timeout: the tokens that became ready.
Result poller_wait(int poller, std::vector<uint64_t>* tokens);

}  // namespace core
