#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "core/result.h"
#include "core/syscall.h"
#include "core/thread.h"

namespace core {

/// One thread in epoll_wait(2) that reports which sockets may be ready. It reports tokens, not file
/// descriptors, because the kernel gives the number of a closed descriptor to the next socket.
class Reactor {
 public:
  /// Called on the reactor's thread with the tokens of one epoll_wait(2). When waiting fails, called once
  /// more with -errno and no tokens; then the thread ends, and every later watch returns that errno.
  using Ready = std::function<void(Result result, const std::vector<uint64_t>& tokens)>;

  explicit Reactor(Ready ready);
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Creates the poller and starts the thread. Returns -EAGAIN when no thread can be created.
  Result start();
  /// Stops and joins the thread. Afterwards `Ready` is not called again.
  void stop();

  /// Reports `token` when the fd is ready in one of the directions, and at each change until unwatch(). An
  /// error, the end of a connect and the end of the connection count as ready. Replaces an earlier watch.
  Result watch(int fd, Directions directions, uint64_t token);
  /// Ends a watch. Its token may still be reported when the fd became ready before.
  Result unwatch(int fd);

 private:
  void run();

  Ready ready_;
  int poller_ = -1;
  int wake_[2] = {-1, -1};
  std::atomic<Result> failure_ = 0;
  std::atomic<bool> is_stopping_ = false;
  Thread thread_;
};

}  // namespace core
