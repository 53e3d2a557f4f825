#include "core/choice.h"

#include <ctime>
#include <iterator>

#include "core/syscall.h"

namespace core {

namespace {

/// Alternating stretches of this length, until each engine has made that many attempts: of 40 choices made so
/// at a load of 14, by processor time, 40 were right; by the clock, 32.
constexpr uint32_t kStretch = 128;
constexpr uint64_t kEnough = 5 * kStretch;
/// Closer together the engines count as equally fast, and the plain one is taken.
constexpr double kMargin = 0.97;

}  // namespace

Choice& Choice::of(Strategy strategy) {
  static Choice choices[std::size(kStrategyNames)];
  return choices[static_cast<size_t>(strategy)];
}

Choice::Turn Choice::next() {
  const std::lock_guard lock(mutex_);
  if (is_decided()) return {is_ring_cheaper(), UINT32_MAX};
  return {ring_.attempts < plain_.attempts, kStretch};
}

bool Choice::may_take_ring() {
  const std::lock_guard lock(mutex_);
  return !is_decided() || is_ring_cheaper();
}

void Choice::add(const Turn& turn, uint32_t attempts, int64_t cpu_ns) {
  const std::lock_guard lock(mutex_);
  if (is_decided()) return;
  Sum& sum = turn.is_by_ring ? ring_ : plain_;
  sum.attempts += attempts;
  sum.cpu_ns += cpu_ns;
}

bool Choice::is_decided() const { return plain_.attempts >= kEnough && ring_.attempts >= kEnough; }

bool Choice::is_ring_cheaper() const {
  const auto each = [](const Sum& sum) {
    return static_cast<double>(sum.cpu_ns) / static_cast<double>(sum.attempts);
  };
  return each(ring_) < kMargin * each(plain_);
}

int64_t thread_cpu_ns() {
  timespec time;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return nanoseconds_of(time);
}

}  // namespace core
