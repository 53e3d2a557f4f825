#include <sys/epoll.h>

#include "core/poller.h"

namespace core {

namespace {
constexpr int kEventsPerWait = 256;
}

Result poller_create() { return or_errno(::epoll_create1(EPOLL_CLOEXEC)); }

Result poller_watch(int poller, int fd, Directions directions, uint64_t token) {
  epoll_event event{};
  event.events = EPOLLET;
  if (directions.read) event.events |= EPOLLIN;
  if (directions.write) event.events |= EPOLLOUT;
  event.data.u64 = token;
  const Result added = or_errno(::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event));
  if (added != -EEXIST) return added;
  return or_errno(::epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event));
}

Result poller_unwatch(int poller, int fd) {
  return or_errno(::epoll_ctl(poller, EPOLL_CTL_DEL, fd, nullptr));
}

Result poller_wait(int poller, std::vector<uint64_t>* tokens) {
  epoll_event events[kEventsPerWait];
  const Result count = or_errno(::epoll_wait(poller, events, kEventsPerWait, -1));
  for (int i = 0; i < count; i++) {
    // Copy it: epoll_event is packed on x86-64, so that a reference into it is misaligned.
    const uint64_t token = events[i].data.u64;
    tokens->push_back(token);
  }
  return count;
}

}  // namespace core
