#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/address.h"
#include "core/connecting.h"
#include "core/result.h"

namespace core {

/// How an attempt gets its local port, in the order of kStrategyNames.
enum class Strategy { fresh, reuse, autobind, bind, range };
inline constexpr const char* kStrategyNames[] = {"fresh", "reuse", "autobind", "bind", "range"};

/// What makes the attempts (core/engine.h), in the order of kEngineNames.
enum class EngineName { automatic, plain, ring };
inline constexpr const char* kEngineNames[] = {"auto", "plain", "io_uring"};

/// The counters of outcomes, by errno: 0 counts connects; the last one, above every errno, counts attempts
/// without a reply.
inline constexpr size_t kOutcomes = 256;
inline constexpr size_t kUnanswered = kOutcomes - 1;

/// The system calls whose failure ends a burst, in the order of kCallNames.
enum class Call : uint32_t { socket, setsockopt, connect, fcntl, ring_setup, ring_enter };
inline constexpr const char* kCallNames[] = {"socket", "setsockopt",     "connect",
                                             "fcntl",  "io_uring_setup", "io_uring_enter"};

/// A burst writes it into the caller's memory while it runs, word by word (core/counter.h). JavaScript reads
/// it as a Uint32Array. The number of attempts is the sum of the outcomes; a separate counter could differ
/// from it.
struct BurstReport {
  uint32_t local_port;           ///< The local port of a recent attempt; 0 before the first.
  uint32_t resets;               ///< Self-connects that the burst reset.
  uint32_t destination;          ///< A Destination (core/home.h): anything but the host has ended the burst.
  uint32_t failed_call;          ///< The Call whose -errno the burst returns.
  uint32_t ring_attempts;        ///< How many attempts were made by io_uring.
  uint32_t ring_refusal;         ///< The errno for which io_uring could not make attempts; 0 when it could.
  uint32_t outcomes[kOutcomes];  ///< How many attempts ended with each errno.
};

struct BurstPlan {
  Strategy strategy;
  Address peer;
  uint32_t attempts;                 ///< The most attempts.
  uint32_t slice_ms;                 ///< After this time no new attempt starts.
  const int32_t* stop;               ///< The caller's memory: a nonzero value ends the burst.
  const std::atomic<bool>* closing;  ///< True when the environment shuts down; ends the burst.
  ConnectingSocket* connecting;      ///< The socket of the plain engine, for interrupt_burst().
  uint16_t* ports;                   ///< Memory for `attempts` local ports, or null.
  BurstReport* report;
  EngineName engine = EngineName::automatic;
  bool trusts_bind = true;     ///< bind(2) to an address proves that this host has it (core/home.h).
  uint32_t self_connects = 1;  ///< The self-connect to return, counted from 1; earlier ones are reset.
};

/// socket(2), bind(2), connect(2), repeatedly: makes attempts until one connects (and is not reset), a limit
/// of the plan is reached, `stop` or `closing` is set, or the attempts go to another host. Returns the
/// connected fd (nonblocking) plus one, or 0 when no attempt connected. Returns -errno, which is not an
/// attempt's outcome, when no socket can be created or prepared, when the engine that was asked
/// for cannot make attempts, or when connect(2) stays in progress without waiting.
Result burst(const BurstPlan& plan);

/// Whether `stop` or `closing` is set.
bool is_stopped(const BurstPlan& plan);

/// Ends the connect(2) in which a stopped burst waits, on another thread; does nothing to a burst that is not
/// stopped. Call it until burst() has returned: it may come just before a connect. Without it a burst whose
/// SYN is not answered stops when connect(2) gives up, after two minutes.
void interrupt_burst(const BurstPlan& plan);

}  // namespace core
