#include "core/reactor.h"

#include <limits>
#include <utility>

#include "core/poller.h"
#include "core/syscall.h"

namespace core {

namespace {
constexpr uint64_t kStopToken = std::numeric_limits<uint64_t>::max();

void close_if_open(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}
}  // namespace

Reactor::Reactor(Ready ready) : ready_(std::move(ready)) {}

Reactor::~Reactor() { stop(); }

Result Reactor::start() {
  is_stopping_ = false;
  Result result = poller_ = poller_create();
  if (result >= 0) result = pipe(wake_);
  if (result >= 0) result = poller_watch(poller_, wake_[0], {.read = true}, kStopToken);
  if (result >= 0) result = thread_.start([this] { run(); });
  if (result < 0) stop();
  return result;
}

void Reactor::stop() {
  is_stopping_ = true;
  // The end of the pipe wakes the thread too, should write(2) fail: join() would otherwise wait for ever.
  if (wake_[1] >= 0) wake(wake_[1]);
  close_if_open(&wake_[1]);
  thread_.join();
  close_if_open(&poller_);
  close_if_open(&wake_[0]);
}

Result Reactor::watch(int fd, Directions directions, uint64_t token) {
  const Result result = poller_watch(poller_, fd, directions, token);
  // Read failure_ last: a watch that starts before it is set ends when ready_ reports the failure.
  const Result failure = failure_;
  return failure < 0 ? failure : result;
}

Result Reactor::unwatch(int fd) { return poller_unwatch(poller_, fd); }

void Reactor::run() {
  std::vector<uint64_t> tokens;
  for (;;) {
    tokens.clear();
    const Result count = poller_wait(poller_, &tokens);
    if (is_stopping_) return;
    if (count == -EINTR) continue;
    if (count < 0) {
      failure_ = count;
      ready_(count, {});
      return;
    }
    ready_(count, tokens);
  }
}

}  // namespace core
