#include "binding/environment.h"

#include <utility>

#include "core/syscall.h"

namespace binding {

Environment::Environment(Napi::Env env) : env_(env) {
  const auto drain_queue = [](napi_env live, napi_value, void* context, void*) {
    // No environment: it goes down, and what was queued is dropped with it.
    if (live != nullptr) static_cast<Environment*>(context)->drain();
  };
  const Napi::String name = Napi::String::New(env, "selfconnect");
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, drain_queue,
                                  &wake_);
  napi_unref_threadsafe_function(env, wake_);
  // Hooks run in the reverse order of their making: this one before the thread-safe function's own.
  napi_add_env_cleanup_hook(
      env, [](void* self) { static_cast<Environment*>(self)->take_down(); }, this);
}

Environment::~Environment() = default;

Environment& Environment::of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

void Environment::post(std::function<void(Napi::Env)> task) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = tasks_.empty();
    // Kept also while all goes down: what a task holds of JavaScript's only that thread may let go.
    tasks_.push_back(std::move(task));
    if (closing_) return;
  }
  if (first) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void Environment::drain() {
  std::vector<std::function<void(Napi::Env)>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (const auto& task : tasks) task(env_);
}

void Environment::run(std::function<core::Result()> work, std::function<void(Napi::Env, core::Result)> done) {
  hold();
  const auto self = threads_.emplace(threads_.end());
  *self = std::thread([this, self, work = std::move(work), done = std::move(done)] {
    const core::Result result = work();
    post([this, self, result, done](Napi::Env env) {
      self->join();
      threads_.erase(self);
      unhold();
      done(env, result);
    });
  });
}

void Environment::hold() {
  if (holds_++ == 0) napi_ref_threadsafe_function(env_, wake_);
}

void Environment::unhold() {
  if (--holds_ == 0) napi_unref_threadsafe_function(env_, wake_);
}

Socket* Environment::open() {
  auto* socket = new Socket{this};
  sockets_.insert(socket);
  return socket;
}

void Environment::forget(Socket* socket) {
  Environment* owner = socket->environment;
  if (owner != nullptr) {
    if (socket->fd >= 0) {
      owner->unwatch(socket);
      core::close(socket->fd);
      owner->leaks++;
    }
    owner->sockets_.erase(socket);
  }
  delete socket;
}

core::Result Environment::unwatch(Socket* socket) {
  if (!std::exchange(socket->watched, false)) return 0;
  unhold();
  return reactor->unwatch(socket->fd);
}

void Environment::take_down() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  reactor.reset();
  tasks_.clear();
  for (Socket* socket : sockets_) {
    if (socket->fd >= 0) core::close(socket->fd);
    *socket = Socket{nullptr};
  }
  sockets_.clear();
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
}

}  // namespace binding
