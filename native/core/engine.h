#pragma once

#include <cstdint>
#include <memory>

#include "core/attempts.h"
#include "core/result.h"

namespace core {

/// A way to make attempts. Each engine has sockets of its own, and resets them at its end: one may have
/// connected to itself just then, and close(2) would keep the port.
class Engine {
 public:
  Engine() = default;
  virtual ~Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Makes attempts until about `most` more are made or the burst is over. Returns the connected fd
  /// (nonblocking) plus one, 0 when none connected, or -errno.
  virtual Result run(uint32_t most) = 0;
  /// Resets its socket, before the other engine's turn: a port that one has bound, the other cannot.
  virtual void release() = 0;
};

/// One system call after another: works on every platform.
std::unique_ptr<Engine> make_plain_engine(Attempts& attempts);

/// io_uring: many attempts with one system call. -EOPNOTSUPP where a strategy or a plan gains nothing by it;
/// -EPERM, -ENOSYS, -EINVAL and the like where the kernel has no ring that can do it.
///
/// Its run() returns Attempts::refuse_ring() when it turns out that the kernel does not do what it was asked
/// (gVisor offers a ring that cannot connect): what was counted until then are real attempts.
Result make_ring_engine(Attempts& attempts, std::unique_ptr<Engine>* out);

}  // namespace core
