#pragma once

#include <cstdint>
#include <mutex>

#include "core/burst.h"

namespace core {

/// Which engine makes the attempts of a strategy: both in turn, until each has made some hundred; then the
/// one that took less processor time for each. What was learned holds for the process.
class Choice {
 public:
  static Choice& of(Strategy strategy);

  struct Turn {
    bool is_by_ring;
    uint32_t attempts;
  };
  /// Who makes the next attempts, and how many.
  Turn next();
  /// Whether the ring is not known to be the slower one.
  bool may_take_ring();
  void add(const Turn& turn, uint32_t attempts, int64_t cpu_ns);

 private:
  struct Sum {
    uint64_t attempts = 0;
    int64_t cpu_ns = 0;
  };
  bool is_decided() const;
  bool is_ring_cheaper() const;

  std::mutex mutex_;
  Sum plain_, ring_;
};

/// clock_gettime(2), CLOCK_THREAD_CPUTIME_ID: the calling thread's processor time, in nanoseconds.
int64_t thread_cpu_ns();

}  // namespace core
