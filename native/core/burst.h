#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/address.h"
#include "core/result.h"

namespace core {

/// How an attempt gets its local port. The order is that of kStrategyNames.
enum class Strategy { fresh, reuse, autobind, bind, range };
inline constexpr const char* kStrategyNames[] = {"fresh", "reuse", "autobind", "bind", "range"};

/// Outcomes are counted by errno; 0 is "connected", and one slot past every errno is "unanswered".
inline constexpr size_t kOutcomes = 256;
inline constexpr size_t kUnanswered = kOutcomes - 1;

/// What a burst writes into the caller's memory while it runs, word by word (core/counter.h). JavaScript
/// reads it as a Uint32Array. The sum of the outcomes is how many attempts have ended: no second counter
/// could differ from it.
struct BurstReport {
  uint32_t local_port;           ///< The local port of a recent attempt; 0 before the first.
  uint32_t resets;               ///< Self-connects that were reset here, and not handed over.
  uint32_t outcomes[kOutcomes];  ///< How many attempts ended with each errno.
};

struct BurstPlan {
  Strategy strategy;
  Address peer;
  uint32_t attempts;                 ///< At most this many.
  uint32_t slice_ms;                 ///< No new attempt after this long.
  const int32_t* stop;               ///< Caller memory: nonzero ends the burst.
  const std::atomic<bool>* closing;  ///< The environment goes down.
  uint16_t* ports;                   ///< Room for `attempts` local ports, or null.
  BurstReport* report;
  uint32_t self_connects = 1;  ///< The one with this number is handed over; those before it are reset.
};

/// Makes attempts until one connects (and is not to be reset), the plan is spent, or it is told to stop.
/// Returns 0 when no attempt connected, the connected fd (nonblocking) plus one, or -errno when no socket
/// could be created or prepared, or connect(2) stays in progress without ever waiting: that is no outcome of
/// an attempt.
Result burst(const BurstPlan& plan);

}  // namespace core
