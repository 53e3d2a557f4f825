#pragma once

#include <pthread.h>

#include <functional>

#include "core/result.h"

namespace core {

/// One thread. Where there is none (ulimit -u, a container's limit of pids) std::thread throws, which ends a
/// process that is built without exceptions; this one returns the errno.
class Thread {
 public:
  Thread() = default;
  ~Thread() { join(); }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  /// pthread_create(3), once: 0, or -EAGAIN when there is no thread to give.
  Result start(std::function<void()> work);
  /// pthread_join(3); nothing when no thread runs.
  void join();

 private:
  std::function<void()> work_;
  pthread_t id_{};
  bool started_ = false;
};

}  // namespace core
