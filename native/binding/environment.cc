#include "binding/environment.h"

#include <utility>

#include "core/checked.h"
#include "core/syscall.h"

namespace binding {

namespace {

/// A napi status as a Result: what fails is memory, or an environment that goes down.
core::Result or_errno(napi_status status) {
  if (status == napi_ok) return 0;
  return status == napi_closing ? -ECANCELED : -ENOMEM;
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
    // No environment: it goes down, and what was queued is dropped with it.
    if (live != nullptr) static_cast<Environment*>(context)->drain();
  };
  napi_value name = nullptr;
  napi_status status = napi_create_string_utf8(env, "selfconnect", NAPI_AUTO_LENGTH, &name);
  if (status == napi_ok) {
    status = napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this,
                                             drain_queue, &wake_);
  }
  if (status == napi_ok) status = napi_unref_threadsafe_function(env, wake_);
  // Hooks run in the reverse order of their making: this one before the thread-safe function's own.
  if (status == napi_ok) {
    status = napi_add_env_cleanup_hook(
        env, [](void* self) { static_cast<Environment*>(self)->take_down(); }, this);
  }
  readiness_ = or_errno(status);
}

Environment::~Environment() = default;

Environment& Environment::of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

void Environment::post(std::function<void(Napi::Env)> task) {
  const std::lock_guard lock(mutex_);
  // Queue it even during shutdown: its JavaScript references may be released on the JavaScript thread only.
  tasks_.push_back(std::move(task));
  if (closing_ || woken_) return;
  // A call that fails (no memory) leaves the queue unwoken, and the next post calls again.
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
                              std::function<void(Napi::Env, core::Result)> done) {
  core::Result result = readiness_;
  if (result >= 0) result = hold();
  if (result < 0) return result;
  const auto self = threads_.emplace(threads_.end());
  result = self->start([this, self, work = std::move(work), done = std::move(done)] {
    const core::Result worked = work();
    post([this, self, worked, done](Napi::Env env) {
      self->join();
      threads_.erase(self);
      unhold();
      done(env, worked);
    });
  });
  if (result >= 0) return 0;
  threads_.erase(self);
  unhold();
  return result;
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

Socket* Environment::open() {
  auto* socket = new Socket(this);
  sockets_.insert(socket);
  return socket;
}

void Environment::forget(Socket* socket) {
  Environment* owner = socket->environment;
  if (owner != nullptr) {
    if (!socket->is_empty()) {
      owner->unwatch(socket);
      core::close_checked(socket->take());
      owner->leaks++;
    }
    owner->sockets_.erase(socket);
  }
  delete socket;
}

core::Result Environment::watch(Socket* socket, uint64_t token) {
  if (reactor == nullptr) return -EINVAL;
  const core::Result result = reactor->watch(socket->fd(), token);
  if (result < 0 || socket->watched) return result;
  const core::Result held = hold();
  socket->watched = held >= 0;
  if (held < 0) reactor->unwatch(socket->fd());
  return held;
}

core::Result Environment::unwatch(Socket* socket) {
  if (!std::exchange(socket->watched, false)) return 0;
  const core::Result unheld = unhold();
  const core::Result unwatched = reactor->unwatch(socket->fd());
  return unwatched < 0 ? unwatched : unheld;
}

void Environment::take_down() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  for (core::Thread& thread : threads_) thread.join();
  threads_.clear();
  reactor.reset();
  tasks_.clear();
  for (Socket* socket : sockets_) {
    if (!socket->is_empty()) core::close_checked(socket->take());
    socket->environment = nullptr;
    socket->watched = false;
  }
  sockets_.clear();
  // Nobody is left to report a failure to: the environment ends with this hook.
  static_cast<void>(napi_release_threadsafe_function(wake_, napi_tsfn_abort));
}

}  // namespace binding
