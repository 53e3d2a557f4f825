#include <sys/event.h>

#include "core/poller.h"

namespace core {

namespace {
constexpr int kEventsPerWait = 256;
}

Result poller_create() { return or_errno(::kqueue()); }

namespace {
Result control(int poller, int fd, int16_t filter, uint16_t flags, uint64_t token) {
  struct kevent change;
  EV_SET(&change, fd, filter, flags, 0, 0, reinterpret_cast<void*>(token));
  return or_errno(::kevent(poller, &change, 1, nullptr, 0, nullptr));
}
}  // namespace

Result poller_watch(int poller, int fd, Directions directions, uint64_t token) {
  Result result = 0;
  if (directions.read) result = control(poller, fd, EVFILT_READ, EV_ADD | EV_CLEAR, token);
  if (directions.write && result >= 0) result = control(poller, fd, EVFILT_WRITE, EV_ADD | EV_CLEAR, token);
  return result;
}

Result poller_unwatch(int poller, int fd) {
  // Delete both filters: only the kernel knows which of them were added.
  const Result read = control(poller, fd, EVFILT_READ, EV_DELETE, 0);
  const Result write = control(poller, fd, EVFILT_WRITE, EV_DELETE, 0);
  const Result result = read == -ENOENT ? write : read;
  return result == -ENOENT ? 0 : result;
}

Result poller_wait(int poller, std::vector<uint64_t>* tokens) {
  struct kevent events[kEventsPerWait];
  const Result count = or_errno(::kevent(poller, nullptr, 0, events, kEventsPerWait, nullptr));
  for (int i = 0; i < count; i++) tokens->push_back(reinterpret_cast<uint64_t>(events[i].udata));
  return count;
}

}  // namespace core
