#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "core/reactor.h"
#include "core/result.h"

namespace binding {

class Environment;

/// One kernel socket and its only owner. JavaScript holds it as an opaque, type-tagged handle.
struct Socket {
  Environment* environment;  ///< Null once the environment has closed what was left.
  int fd = -1;
  bool watched = false;
};

/// What one JavaScript environment (the main thread or a worker) owns natively: its sockets, its
/// background threads and the way from those threads into JavaScript. A single cleanup hook takes all of it
/// down in order, because Node aborts when a thread outlives the environment that it reports to.
class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();
  static Environment& of(Napi::Env env);

  /// Runs `task` on the JavaScript thread. From any thread; wake-ups are batched.
  void post(std::function<void(Napi::Env)> task);
  /// Runs `work` on a thread of its own, then `done` on the JavaScript thread. Not on libuv's pool: its four
  /// threads also serve dns and fs, and a burst occupies one for long.
  void run(std::function<core::Result()> work, std::function<void(Napi::Env, core::Result)> done);
  /// Keeps the event loop alive while something is under way.
  void hold();
  void unhold();

  Socket* open();
  /// The last resort, garbage collection: closes what is still open, and counts it as a leak.
  static void forget(Socket* socket);
  /// Ends the watch, if there is one.
  core::Result unwatch(Socket* socket);

  const std::atomic<bool>& closing() const { return closing_; }

  std::unique_ptr<core::Reactor> reactor;
  uint32_t leaks = 0;  ///< Sockets that garbage collection had to close.

 private:
  void drain();
  void take_down();

  Napi::Env env_;
  napi_threadsafe_function wake_ = nullptr;
  std::atomic<bool> closing_ = false;
  uint32_t holds_ = 0;
  std::mutex mutex_;
  std::vector<std::function<void(Napi::Env)>> tasks_;
  std::list<std::thread> threads_;
  std::unordered_set<Socket*> sockets_;
};

}  // namespace binding
