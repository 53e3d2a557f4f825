#include "core/burst.h"

#include <algorithm>
#include <utility>

#include "core/counter.h"
#include "core/home.h"
#include "core/joined.h"
#include "core/option.h"
#include "core/syscall.h"

namespace core {

namespace {

/// A blocking connect(2) returns this often, so that the burst can check whether to stop. Waiting in the
/// kernel keeps an attempt at one connect(2): to a dead port of this host it returns the refusal at once.
constexpr int kConnectWaitMs = 20;
/// People watch the local port as progress, so a sample is enough: reading it at each attempt costs 2 % of
/// the rate.
constexpr uint32_t kSamplePortEvery = 256;
/// The most calls of connect(2) in one attempt: 90 minutes when each of them waits, and a moment when they
/// return EALREADY or EINTR at once.
constexpr int kMostConnects = 1 << 18;
/// The attempts are checked to go to this host after the first few of a burst, and then this often: another
/// host gets 10 ms of them at most.
constexpr uint32_t kFirstAttempts = 16;
constexpr int64_t kCheckEveryNs = 10'000'000;

class Burst {
 public:
  explicit Burst(const BurstPlan& plan)
      : plan_(plan),
        home_(plan.peer, plan.trusts_bind),
        now_ns_(monotonic_ns()),
        ends_ns_(now_ns_ + static_cast<int64_t>(plan.slice_ms) * 1'000'000),
        next_check_ns_(now_ns_ + kCheckEveryNs) {}
  /// Resets the last socket: it may have connected to itself just now, and close(2) would keep the port.
  ~Burst() {
    if (fd_ >= 0) reset(fd_);
  }
  Burst(const Burst&) = delete;
  Burst& operator=(const Burst&) = delete;

  Result run() {
    while (attempts_ < plan_.attempts && !is_stopped() && !is_spent()) {
      Result result = is_check_due() ? check_destination() : 0;
      if (result != 0) return result < 0 ? result : 0;
      result = prepare_socket();
      if (result < 0) return result;
      result = attempt();
      if (is_in_progress(result) && !is_stopped()) return result;
      count_outcome(result);
      record_port(attempts_);
      attempts_++;
      if (result == 0 && !must_reset()) return hand_over();
      if (is_in_progress(result)) return 0;  // Stopped.
      // Linux lets a socket connect again after a refusal. After any other error a new socket is needed.
      if (result == 0) {
        reset_socket();
      } else if (plan_.strategy != Strategy::reuse || result != -ECONNREFUSED) {
        drop();
      }
    }
    return std::min(check_destination(), 0);
  }

 private:
  bool is_stopped() const {
    return load_word(plan_.stop) != 0 || plan_.closing->load(std::memory_order_relaxed);
  }

  /// Even the shortest slice makes one attempt.
  bool is_spent() {
    now_ns_ = monotonic_ns();
    return attempts_ > 0 && now_ns_ >= ends_ns_;
  }

  bool is_check_due() const { return attempts_ == kFirstAttempts || now_ns_ >= next_check_ns_; }

  /// A Destination, which ends the burst unless it is the host; -errno without an answer.
  Result check_destination() {
    const Result destination = home_.check(load_word(&plan_.report->outcomes[ECONNREFUSED]));
    if (destination > 0) store_word(&plan_.report->destination, static_cast<uint32_t>(destination));
    next_check_ns_ = now_ns_ + kCheckEveryNs;
    return destination;
  }

  void count_outcome(Result result) {
    const size_t outcome = is_in_progress(result) ? kUnanswered : static_cast<size_t>(-result);
    count_word(&plan_.report->outcomes[outcome < kOutcomes ? outcome : kUnanswered]);
  }

  Result prepare_socket() {
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
    // A second connect(2) returns EISCONN when the socket has connected after the first one returned.
    return result == -EISCONN ? 0 : result;
  }

  void record_port(uint32_t index) {
    if (plan_.ports == nullptr && index % kSamplePortEvery != 0) return;
    Address local;
    const uint16_t port = getsockname(fd_, &local) < 0 ? 0 : port_of(local);
    if (plan_.ports != nullptr) plan_.ports[index] = port;
    store_word(&plan_.report->local_port, port);
  }

  /// Whether the socket is joined to itself, and more self-connects are to follow.
  bool must_reset() const {
    return load_word(&plan_.report->resets) + 1 < plan_.self_connects && is_joined(fd_) > 0;
  }

  void reset_socket() {
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
  Home home_;
  int64_t now_ns_;
  const int64_t ends_ns_;
  int64_t next_check_ns_;
  uint32_t attempts_ = 0;
  int fd_ = -1;
};

}  // namespace

Result burst(const BurstPlan& plan) { return Burst(plan).run(); }

}  // namespace core
