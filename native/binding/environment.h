#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "core/reactor.h"
#include "core/result.h"
#include "core/thread.h"

namespace binding {

class Environment;

/// One kernel socket and its only owner. JavaScript holds it as an opaque, type-tagged handle. A burst fills
/// it from a thread of its own, so that its fd is atomic.
class Socket {
 public:
  explicit Socket(Environment* owner) : environment(owner) {}

  /// The fd; -1 when the handle is empty.
  int fd() const { return fd_; }
  bool is_empty() const { return fd_ < 0; }
  /// Takes over what a call that creates an fd returned: 0, its -errno, or -EALREADY, and the fd is closed,
  /// when the handle is full.
  core::Result fill(core::Result fd);
  /// Empties the handle: whoever called owns the fd now.
  int take() { return fd_.exchange(-1); }

  Environment* environment;  ///< Null once the environment has closed what was left.
  bool watched = false;

 private:
  std::atomic<int> fd_ = -1;
};

/// What one JavaScript environment (the main thread or a worker) owns natively: its sockets, its
/// background threads and the way from those threads into JavaScript. A single cleanup hook takes all of it
/// down in order, because Node aborts when a thread outlives the environment that it reports to.
class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();
  static Environment& of(Napi::Env env);

  /// 0, or the -errno of an environment that could not be prepared for threads: it runs none.
  core::Result readiness() const { return readiness_; }
  /// Runs `task` on the JavaScript thread. From any thread; wake-ups are batched.
  void post(std::function<void(Napi::Env)> task);
  /// Runs `work` on a thread of its own, then `done` on the JavaScript thread; -EAGAIN, and neither, when
  /// there is no thread to give. Not on libuv's pool: its four threads also serve dns and fs, and a burst
  /// occupies one for long.
  core::Result run(std::function<core::Result()> work, std::function<void(Napi::Env, core::Result)> done);
  /// Keeps the event loop alive while something is under way.
  core::Result hold();
  core::Result unhold();

  Socket* open();
  /// The last resort, garbage collection: closes what is still open, and counts it as a leak.
  static void forget(Socket* socket);
  /// Reports `token` when the socket is ready, and at each change until unwatch(); see core/reactor.h.
  core::Result watch(Socket* socket, uint64_t token, core::Directions directions);
  /// Ends the watch, if there is one.
  core::Result unwatch(Socket* socket);

  const std::atomic<bool>& closing() const { return closing_; }

  std::unique_ptr<core::Reactor> reactor;
  int leaks = 0;  ///< Sockets that garbage collection had to close.

 private:
  void drain();
  void take_down();

  Napi::Env env_;
  core::Result readiness_ = 0;
  napi_threadsafe_function wake_ = nullptr;
  std::atomic<bool> closing_ = false;
  uint32_t holds_ = 0;
  std::mutex mutex_;
  bool woken_ = false;
  std::vector<std::function<void(Napi::Env)>> tasks_;
  std::list<core::Thread> threads_;
  std::unordered_set<Socket*> sockets_;
};

}  // namespace binding
