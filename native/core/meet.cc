#include "core/meet.h"

#include <atomic>

#include "core/syscall.h"
#include "core/thread.h"

namespace core {

Result meet(Side* one, Side* other) {
  std::atomic<int> ready = 0;
  const auto go = [&ready](Side* side) {
    ready++;
    while (ready < 2) {
      // Spin, because waking a thread takes longer than the arrival of a SYN.
    }
    side->result = begin_connect(side->fd, side->peer);
  };
  Thread thread;
  const Result started = thread.start([&] { go(other); });
  if (started < 0) return started;
  go(one);
  thread.join();
  return 0;
}

}  // namespace core
