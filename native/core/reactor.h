#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "core/result.h"
#include "core/syscall.h"
#include "core/thread.h"

namespace core {

/// One thread in epoll_wait(2) that reports which sockets may be ready. It reports tokens, never file
/// descriptors: a number that was closed and given out again can then not be taken for its successor.
class Reactor {
 public:
  /// Called on the reactor's own thread with the tokens of one epoll_wait(2); once with -errno and no token
  /// when waiting failed. Then the thread has ended, and every later watch returns that errno.
  using Ready = std::function<void(Result result, const std::vector<uint64_t>& tokens)>;

  explicit Reactor(Ready ready);
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Creates the poller and starts the thread: -EAGAIN when there is none to give.
  Result start();
  /// Stops and joins the thread; afterwards nothing is reported any more.
  void stop();

  /// Reports `token` when the fd is ready in one of the directions, and at each change until unwatch(). An
  /// error or an end of the connection, and the end of a connect, count as ready. Replaces an earlier watch.
  Result watch(int fd, Directions directions, uint64_t token);
  /// Ends a watch; a token that is already on its way may still be reported.
  Result unwatch(int fd);

 private:
  void run();

  Ready ready_;
  int poller_ = -1;
  int wake_[2] = {-1, -1};
  std::atomic<Result> failure_ = 0;
  Thread thread_;
};

}  // namespace core
