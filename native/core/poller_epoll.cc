#include <sys/epoll.h>

#include "core/poller.h"

namespace core {

namespace {
constexpr int kEventsPerWait = 256;
}

Result poller_create() { return or_errno(::epoll_create1(EPOLL_CLOEXEC)); }

namespace {
Result control(int poller, int fd, uint32_t events, uint64_t token) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  const Result added = or_errno(::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event));
  if (added != -EEXIST) return added;
  return or_errno(::epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event));
}
}  // namespace

Result poller_watch(int poller, int fd, uint64_t token) {
  return control(poller, fd, EPOLLOUT | EPOLLONESHOT, token);
}

Result poller_watch_readable(int poller, int fd, uint64_t token) {
  return control(poller, fd, EPOLLIN, token);
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
