#pragma once

#include <napi.h>
#include <pthread.h>

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

/// The only owner of one kernel socket. JavaScript holds it as an opaque, type-tagged handle. The fd is
/// atomic, because a burst fills the handle from another thread.
class Socket {
 public:
  explicit Socket(Environment* owner) : environment(owner) {}

  /// The fd; -1 when the handle is empty.
  int fd() const { return fd_; }
  bool is_empty() const { return fd_ < 0; }
  /// Stores an fd that a call created, and returns 0; returns an -errno unchanged. When the handle is full,
  /// closes the fd and returns -EALREADY.
  core::Result fill(core::Result fd);
  /// Empties the handle and returns the fd, which the caller now owns.
  int take() { return fd_.exchange(-1); }

  Environment* environment;  ///< Null after the environment has shut down.
  bool watched = false;

 private:
  std::atomic<int> fd_ = -1;
};

/// The native objects of one JavaScript environment (the main thread or a worker): its sockets, its
/// background threads and the queue of tasks from those threads to JavaScript. One cleanup hook ends all of
/// them in order, because Node aborts when a thread outlives the environment to which it reports.
class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();
  static Environment& of(Napi::Env env);

  /// 0, or -errno when the setup failed; the environment then starts no thread.
  core::Result readiness() const { return readiness_; }
  /// Queues `task` for the JavaScript thread. Any thread may call it; wake-ups are batched.
  void post(std::function<void(Napi::Env)> task);
  /// Runs `work` on a new thread, then `done` on the JavaScript thread. Returns -EAGAIN, and runs neither,
  /// when no thread can be created. Does not use libuv's pool: its four threads also serve dns and fs, and a
  /// burst would block one for long. `interrupt` ends a system call in which the work waits, when it is to
  /// end and does not by itself.
  core::Result run(std::function<core::Result()> work, std::function<void(Napi::Env, core::Result)> done,
                   std::function<void()> interrupt = nullptr);
  /// Calls `interrupt` of all work that runs.
  void interrupt_work();
  /// Keeps the event loop alive until unhold() was called as often as hold().
  core::Result hold();
  core::Result unhold();

  Socket* create_socket();
  /// Whether one of this environment's sockets owns the fd.
  bool owns(int fd) const;
  /// Deletes a socket at garbage collection. Closes its fd if it is still open, and counts it as a leak.
  static void forget(Socket* socket);
  /// Reports `token` when the socket is ready, and at each change until unwatch(); see core/reactor.h.
  core::Result watch(Socket* socket, uint64_t token, core::Directions directions);
  /// Ends the watch, if there is one.
  core::Result unwatch(Socket* socket);

  const std::atomic<bool>& closing() const { return closing_; }
  /// Ends the background threads and waits for them; does nothing on another thread than JavaScript's.
  void end_threads();
  /// Sets the sockets that are joined to themselves to be reset when they are closed. Any thread may call it.
  void reset_joined_at_close();

  std::unique_ptr<core::Reactor> reactor;
  int leaks = 0;  ///< Sockets that only garbage collection closed.

 private:
  /// A thread of run().
  struct Work {
    core::Thread thread;
    std::function<void()> interrupt;
    std::atomic<bool> has_ended = false;
  };

  void drain();
  void take_down();

  Napi::Env env_;
  const pthread_t thread_ = pthread_self();
  core::Result readiness_ = 0;
  napi_threadsafe_function wake_ = nullptr;
  std::atomic<bool> closing_ = false;
  uint32_t holds_ = 0;
  std::mutex mutex_;
  bool woken_ = false;
  std::vector<std::function<void(Napi::Env)>> tasks_;
  std::list<Work> works_;
  std::mutex sockets_mutex_;  ///< Only the JavaScript thread changes sockets_; it reads them without this.
  std::unordered_set<Socket*> sockets_;
};

}  // namespace binding
