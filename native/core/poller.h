#pragma once

#include <cstdint>
#include <vector>

#include "core/result.h"

/// Waiting for sockets: epoll(7) on Linux, kqueue(2) on macOS and the BSDs.
namespace core {

/// epoll_create1(2); kqueue(2) on macOS and the BSDs.
Result poller_create();
/// epoll_ctl(2), EPOLLOUT | EPOLLONESHOT: reports `token` once, when a connect on the fd has ended.
Result poller_watch(int poller, int fd, uint64_t token);
/// epoll_ctl(2), EPOLL_CTL_DEL: ends a watch.
Result poller_unwatch(int poller, int fd);
/// epoll_ctl(2), EPOLLIN: watches the read end of a pipe, by which another thread ends poller_wait.
Result poller_watch_readable(int poller, int fd, uint64_t token);
/// epoll_wait(2) without a timeout: appends the tokens that became ready, and returns how many.
Result poller_wait(int poller, std::vector<uint64_t>* tokens);

}  // namespace core
