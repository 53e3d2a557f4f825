#include "core/connecting.h"

#include <sched.h>

#include "core/syscall.h"

namespace core {

void ConnectingSocket::take_back() {
  int fd = fd_.load();
  while (fd != kNone && (fd == kInUse || !fd_.compare_exchange_weak(fd, kNone))) {
    sched_yield();
    fd = fd_.load();
  }
}

void ConnectingSocket::interrupt() {
  int fd = fd_.load();
  if (fd < 0 || !fd_.compare_exchange_strong(fd, kInUse)) return;
  is_interrupted_ = true;
  // -ENOTCONN when no connect is waiting.
  static_cast<void>(shutdown(fd, How::read));
  fd_.store(fd);
}

}  // namespace core
