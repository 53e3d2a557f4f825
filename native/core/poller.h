#pragma once

#include <cstdint>
#include <vector>

#include "core/result.h"
#include "core/syscall.h"

/// Waiting for sockets: epoll(7) on Linux, kqueue(2) on macOS and the BSDs.
namespace core {

/// epoll_create1(2); kqueue(2) on macOS and the BSDs.
Result poller_create();
/// epoll_ctl(2), EPOLLET: report `token` now if the fd is ready, and at each change after that. Not oneshot:
/// a message in the error queue keeps a socket "ready", and a watch that is renewed would report it for ever.
Result poller_watch(int poller, int fd, Directions directions, uint64_t token);
/// epoll_ctl(2), EPOLL_CTL_DEL.
Result poller_unwatch(int poller, int fd);
/// epoll_wait(2) without a timeout: the tokens that became ready.
Result poller_wait(int poller, std::vector<uint64_t>* tokens);

}  // namespace core
