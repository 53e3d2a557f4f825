#include "core/burst.h"

#include <utility>

#include "core/checked.h"
#include "core/counter.h"
#include "core/option.h"
#include "core/syscall.h"

namespace core {

namespace {

/// A blocking connect wakes up this often to see whether it should stop. Waiting in the kernel keeps an
/// attempt at one connect(2); to a dead port on this host the answer is there before connect returns.
constexpr int kConnectWaitMs = 20;
/// The local port is shown to people who watch; asking at every attempt would cost the rate 2 %.
constexpr uint32_t kSamplePortEvery = 256;
/// An attempt is asked so often at most: for 90 minutes where each connect waits, and for a moment where none
/// does (EALREADY or EINTR at once, again and again).
constexpr int kMostConnects = 1 << 18;

class Burst {
 public:
  explicit Burst(const BurstPlan& plan)
      : plan_(plan), ends_ns_(monotonic_ns() + static_cast<int64_t>(plan.slice_ms) * 1'000'000) {}
  /// What is left may have connected in this moment: it ends by RST, for it could be joined to itself.
  ~Burst() {
    if (fd_ >= 0) reset(fd_);
  }
  Burst(const Burst&) = delete;
  Burst& operator=(const Burst&) = delete;

  Result run() {
    while (attempts_ < plan_.attempts && !is_stopped() && !is_spent()) {
      Result result = ready_socket();
      if (result < 0) return result;
      result = attempt();
      if (is_in_progress(result) && !is_stopped()) return result;
      count_outcome(result);
      note_port(attempts_);
      attempts_++;
      if (result == 0 && !is_to_be_reset()) return hand_over();
      if (is_in_progress(result)) return 0;  // Stopped.
      // After a refusal Linux lets the same socket connect again; after anything else it starts anew.
      if (result == 0) {
        reset_here();
      } else if (plan_.strategy != Strategy::reuse || result != -ECONNREFUSED) {
        drop();
      }
    }
    return 0;
  }

 private:
  bool is_stopped() const {
    return load_word(plan_.stop) != 0 || plan_.closing->load(std::memory_order_relaxed);
  }

  /// A slice makes at least one attempt, however short it is.
  bool is_spent() const { return attempts_ > 0 && monotonic_ns() >= ends_ns_; }

  void count_outcome(Result result) {
    const size_t outcome = is_in_progress(result) ? kUnanswered : static_cast<size_t>(-result);
    count_word(&plan_.report->outcomes[outcome < kOutcomes ? outcome : kUnanswered]);
  }

  Result ready_socket() {
    if (fd_ >= 0) return 0;
    fd_ = socket(plan_.peer.family, Blocking::yes);
    if (fd_ < 0) return std::exchange(fd_, -1);
    Result result = set_connect_wait(fd_, kConnectWaitMs);
    if (result >= 0 && plan_.strategy == Strategy::range) {
      const uint16_t port = port_of(plan_.peer);
      result = set_local_port_range(fd_, port, port);
    }
    return result;
  }

  Result attempt() {
    Result result = 0;
    if (plan_.strategy == Strategy::autobind) result = bind(fd_, with_port(plan_.peer, 0));
    if (plan_.strategy == Strategy::bind) result = bind(fd_, plan_.peer);
    if (result < 0) return result;
    result = connect(fd_, plan_.peer);
    for (int connects = 1; is_in_progress(result) && connects < kMostConnects && !is_stopped(); connects++) {
      result = connect(fd_, plan_.peer);
    }
    // A second connect(2) on a socket that got connected while it waited says so in its own way.
    return result == -EISCONN ? 0 : result;
  }

  void note_port(uint32_t index) {
    if (plan_.ports == nullptr && index % kSamplePortEvery != 0) return;
    Address local;
    const uint16_t port = getsockname(fd_, &local) < 0 ? 0 : port_of(local);
    if (plan_.ports != nullptr) plan_.ports[index] = port;
    store_word(&plan_.report->local_port, port);
  }

  /// Joined to itself, and not the last that is asked for.
  bool is_to_be_reset() const {
    return load_word(&plan_.report->resets) + 1 < plan_.self_connects && is_joined(fd_);
  }

  void reset_here() {
    reset(std::exchange(fd_, -1));
    count_word(&plan_.report->resets);
  }

  Result hand_over() {
    Result result = set_connect_wait(fd_, 0);
    if (result >= 0) result = set_nonblocking(fd_);
    return result < 0 ? result : std::exchange(fd_, -1) + 1;
  }

  void drop() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  const BurstPlan& plan_;
  const int64_t ends_ns_;
  uint32_t attempts_ = 0;
  int fd_ = -1;
};

}  // namespace

Result burst(const BurstPlan& plan) { return Burst(plan).run(); }

}  // namespace core
