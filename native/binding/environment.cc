#include "binding/environment.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>

#include "core/checked.h"
#include "core/syscall.h"

namespace binding {

namespace {

/// Work that is to end and has not yet is interrupted this often.
constexpr auto kInterruptEvery = std::chrono::microseconds(200);

/// Converts a napi status to a Result: it fails for lack of memory, or while the environment shuts down.
core::Result or_errno(napi_status status) {
  if (status == napi_ok) return 0;
  return status == napi_closing ? -ECANCELED : -ENOMEM;
}

/// The environments of the process.
struct Living {
  std::mutex mutex;
  std::unordered_set<Environment*> environments;
};

Living& living() {
  // Never destroyed: threads may still end while the process runs its destructors.
  static auto* const only = new Living;
  return *only;
}

/// process.exit() on the main thread runs no cleanup hook: the kernel closes what is open then. A burst first
/// ends, which resets its sockets. Node has ended all workers by now.
void reset_joined_at_exit() {
  const std::lock_guard lock(living().mutex);
  for (Environment* environment : living().environments) {
    environment->end_threads();
    environment->reset_joined_at_close();
  }
}

}  // namespace

core::Result Socket::fill(core::Result fd) {
  if (fd < 0) return fd;
  int empty = -1;
  if (fd_.compare_exchange_strong(empty, fd)) return 0;
  core::close(fd);
  return -EALREADY;
}

Environment::Environment(Napi::Env env) : env_(env) {
  const auto drain_queue = [](napi_env live, napi_value, void* context, void*) {
    // Without an environment, which is shutting down, take_down drops the queue.
    if (live != nullptr) static_cast<Environment*>(context)->drain();
  };
  napi_value name = nullptr;
  napi_status status = napi_create_string_utf8(env, "selfconnect", NAPI_AUTO_LENGTH, &name);
  if (status == napi_ok) {
    status = napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this,
                                             drain_queue, &wake_);
  }
  if (status == napi_ok) status = napi_unref_threadsafe_function(env, wake_);
  // Hooks run in the reverse order of their creation: this one before that of the thread-safe function.
  if (status == napi_ok) {
    status = napi_add_env_cleanup_hook(
        env, [](void* self) { static_cast<Environment*>(self)->take_down(); }, this);
  }
  readiness_ = or_errno(status);
  static const int registered = std::atexit(reset_joined_at_exit);
  static_cast<void>(registered);
  const std::lock_guard lock(living().mutex);
  living().environments.insert(this);
}

Environment::~Environment() {
  const std::lock_guard lock(living().mutex);
  living().environments.erase(this);
}

Environment& Environment::of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

void Environment::post(std::function<void(Napi::Env)> task) {
  const std::lock_guard lock(mutex_);
  // Queue it even during shutdown: its JavaScript references may be released on the JavaScript thread only.
  tasks_.push_back(std::move(task));
  if (closing_ || woken_) return;
  // When the call fails (no memory), woken_ stays false, and the next post calls again.
  woken_ = napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking) == napi_ok;
}

void Environment::drain() {
  std::vector<std::function<void(Napi::Env)>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
    woken_ = false;
  }
  for (const auto& task : tasks) task(env_);
}

core::Result Environment::run(std::function<core::Result()> work,
                              std::function<void(Napi::Env, core::Result)> done,
                              std::function<void()> interrupt) {
  core::Result result = readiness_;
  if (result >= 0) result = hold();
  if (result < 0) return result;
  const auto self = works_.emplace(works_.end());
  self->interrupt = std::move(interrupt);
  result = self->thread.start([this, self, work = std::move(work), done = std::move(done)] {
    const core::Result result_of_work = work();
    self->has_ended = true;
    post([this, self, result_of_work, done](Napi::Env env) {
      self->thread.join();
      works_.erase(self);
      const core::Result unheld = unhold();
      done(env, result_of_work >= 0 && unheld < 0 ? unheld : result_of_work);
    });
  });
  if (result >= 0) return 0;
  works_.erase(self);
  // The first failure is the one to report.
  static_cast<void>(unhold());
  return result;
}

void Environment::interrupt_work() {
  for (const Work& work : works_) {
    if (work.interrupt) work.interrupt();
  }
}

core::Result Environment::hold() {
  if (holds_++ > 0) return 0;
  const core::Result result = or_errno(napi_ref_threadsafe_function(env_, wake_));
  if (result < 0) holds_--;
  return result;
}

core::Result Environment::unhold() {
  return --holds_ > 0 ? 0 : or_errno(napi_unref_threadsafe_function(env_, wake_));
}

Socket* Environment::create_socket() {
  auto* socket = new Socket(this);
  const std::lock_guard lock(sockets_mutex_);
  sockets_.insert(socket);
  return socket;
}

bool Environment::owns(int fd) const {
  return std::any_of(sockets_.begin(), sockets_.end(),
                     [fd](const Socket* socket) { return socket->fd() == fd; });
}

void Environment::forget(Socket* socket) {
  Environment* owner = socket->environment;
  if (owner != nullptr) {
    if (!socket->is_empty()) {
      owner->unwatch(socket);
      core::close_checked(socket->take());
      owner->leaks++;
    }
    const std::lock_guard lock(owner->sockets_mutex_);
    owner->sockets_.erase(socket);
  }
  delete socket;
}

core::Result Environment::watch(Socket* socket, uint64_t token, core::Directions directions) {
  if (reactor == nullptr) return -EINVAL;
  const core::Result result = reactor->watch(socket->fd(), directions, token);
  if (result < 0 || socket->watched) return result;
  const core::Result hold_result = hold();
  socket->watched = hold_result >= 0;
  if (hold_result < 0) reactor->unwatch(socket->fd());
  return hold_result;
}

core::Result Environment::unwatch(Socket* socket) {
  if (!std::exchange(socket->watched, false)) return 0;
  const core::Result unhold_result = unhold();
  const core::Result result = reactor->unwatch(socket->fd());
  return result < 0 ? result : unhold_result;
}

void Environment::reset_joined_at_close() {
  const std::lock_guard lock(sockets_mutex_);
  for (const Socket* socket : sockets_) {
    // This result is ignored, because nobody can receive it.
    if (!socket->is_empty()) static_cast<void>(core::reset_at_close_if_joined(socket->fd()));
  }
}

void Environment::end_threads() {
  if (pthread_equal(thread_, pthread_self()) == 0) return;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  for (Work& work : works_) {
    while (work.interrupt && !work.has_ended) {
      std::this_thread::sleep_for(kInterruptEvery);
      work.interrupt();
    }
    work.thread.join();
  }
}

void Environment::take_down() {
  end_threads();
  works_.clear();
  reactor.reset();
  tasks_.clear();
  for (Socket* socket : sockets_) {
    if (!socket->is_empty()) core::close_checked(socket->take());
    socket->environment = nullptr;
    socket->watched = false;
  }
  {
    const std::lock_guard lock(sockets_mutex_);
    sockets_.clear();
  }
  // Nobody can receive a failure: the environment ends with this hook.
  static_cast<void>(napi_release_threadsafe_function(wake_, napi_tsfn_abort));
}

}  // namespace binding
