#include "core/thread.h"

#include <utility>

namespace core {

Result Thread::start(std::function<void()> work) {
  work_ = std::move(work);
  const auto run = [](void* self) -> void* {
    static_cast<Thread*>(self)->work_();
    return nullptr;
  };
  const int error = pthread_create(&id_, nullptr, run, this);
  started_ = error == 0;
  return -error;
}

void Thread::join() {
  if (std::exchange(started_, false)) pthread_join(id_, nullptr);
}

}  // namespace core
