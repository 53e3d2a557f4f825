#pragma once

#include <pthread.h>

#include <functional>

#include "core/result.h"

namespace core {

/// One thread. When no thread can be created (ulimit -u, a container's pids limit), std::thread throws, which
/// ends a process built without exceptions; this class returns the errno.
class Thread {
 public:
  Thread() = default;
  ~Thread() { join(); }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  /// pthread_create(3), once. Returns 0, or -EAGAIN when no thread can be created.
  Result start(std::function<void()> work);
  /// pthread_join(3); does nothing when no thread runs.
  void join();

 private:
  std::function<void()> work_;
  pthread_t id_{};
  bool started_ = false;
};

}  // namespace core
