#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "core/result.h"
#include "core/thread.h"

namespace core {

/// One thread in epoll_wait(2) that reports ended connects. It reports tokens, not file descriptors, because
/// the kernel gives the number of a closed descriptor to the next socket.
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

  /// Reports `token` once, when the connect on the fd has succeeded or failed.
  Result watch(int fd, uint64_t token);
  /// Ends a watch. Its token may still be reported when the connect has ended before.
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
