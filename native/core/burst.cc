#include "core/burst.h"

#include <algorithm>
#include <cstring>
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
        next_check_ns_(now_ns_ + kCheckEveryNs),
        keeps_socket_(plan.strategy != Strategy::fresh) {}
  /// Resets the last socket: it may have connected to itself just now, and close(2) would keep the port.
  ~Burst() {
    if (fd_ >= 0) reset(fd_);
  }
  Burst(const Burst&) = delete;
  Burst& operator=(const Burst&) = delete;

  Result run() {
    while (attempts_ < plan_.attempts && !is_stopped() && !is_spent()) {
      Result result = is_check_due() ? check_destination() : 0;
      if (result < 0) return result;
      if (result > 0) break;
      result = prepare_socket();
      if (result < 0) return result;
      result = attempt();
      if (is_refused_reuse(result)) continue;
      if (is_in_progress(result) && !is_stopped()) return report_failure(Call::connect, result);
      count_outcome(result);
      record_port(attempts_);
      attempts_++;
      if (result == 0 && !must_reset()) return hand_over();
      if (is_in_progress(result)) return 0;  // Stopped.
      // Linux lets a socket connect again after a refusal. After any other error a new socket is needed.
      if (result == 0) {
        reset_socket();
      } else if (!keeps_socket_ || result != -ECONNREFUSED) {
        drop();
      }
    }
    return std::min(check_destination(), 0);
  }

 private:
  bool is_stopped() const {
    return load_word(plan_.stop) != 0 || plan_.closing->load(std::memory_order_relaxed) ||
           load_word(&plan_.report->destination) != 0;
  }

  /// Returns the result.
  Result report_failure(Call call, Result result) {
    if (result < 0) store_word(&plan_.report->failed_call, static_cast<uint32_t>(call));
    return result;
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
    return report_failure(Call::socket, destination);
  }

  void count_outcome(Result result) {
    const size_t outcome = is_in_progress(result) ? kUnanswered : static_cast<size_t>(-result);
    count_word(&plan_.report->outcomes[outcome < kOutcomes ? outcome : kUnanswered]);
  }

  Result prepare_socket() {
    if (fd_ >= 0) return 0;
    fd_ = socket(plan_.peer.family, Blocking::yes);
    if (fd_ < 0) return report_failure(Call::socket, std::exchange(fd_, -1));
    Result result = set_connect_wait(fd_, kConnectWaitMs);
    if (result >= 0 && plan_.strategy == Strategy::range) {
      const uint16_t port = port_of(plan_.peer);
      result = set_local_port_range(fd_, port, port);
    }
    return report_failure(Call::setsockopt, result);
  }

  /// A port of the caller's stays bound when the socket is refused or reset; one that the kernel picked does
  /// not.
  Result bind_local() {
    if (plan_.strategy == Strategy::autobind) return bind(fd_, with_port(plan_.peer, 0));
    if (plan_.strategy != Strategy::bind || is_used_) return 0;
    return bind(fd_, plan_.peer);
  }

  Result attempt() {
    Result result = bind_local();
    if (result < 0) return result;
    result = connect(fd_, plan_.peer);
    for (int connects = 1; is_in_progress(result) && connects < kMostConnects && !is_stopped(); connects++) {
      result = connect(fd_, plan_.peer);
      const Result checked = is_in_progress(result) ? check_destination() : 0;
      if (checked < 0) return checked;
    }
    // A second connect(2) returns EISCONN when the socket has connected after the first one returned.
    return result == -EISCONN ? 0 : result;
  }

  /// Whether this kernel (gVisor) takes a socket that was refused for no other connect: no SYN was sent, so
  /// it was no attempt. From then on each attempt gets a new socket.
  bool is_refused_reuse(Result result) {
    if (!std::exchange(is_used_, true) || (result != -EINVAL && result != -ECONNABORTED)) return false;
    keeps_socket_ = false;
    drop();
    return true;
  }

  void record_port(uint32_t index) {
    if (plan_.ports == nullptr && index % kSamplePortEvery != 0) return;
    Address local;
    const uint16_t port = getsockname(fd_, &local) < 0 ? 0 : port_of(local);
    if (plan_.ports != nullptr) plan_.ports[index] = port;
    store_word(&plan_.report->local_port, port);
  }

  /// Whether the socket is joined to itself, and more self-connects are to follow. Its name alone tells: the
  /// peer is known. The socket that is handed over is looked at more closely, by JavaScript.
  bool must_reset() const {
    if (load_word(&plan_.report->resets) + 1 >= plan_.self_connects) return false;
    Address local;
    if (getsockname(fd_, &local) >= 0 && std::memcmp(&local, &plan_.peer, sizeof local) == 0) return true;
    return is_joined(fd_) > 0;
  }

  /// By disconnect(), which sends RST as a reset does, the socket serves for the next attempt.
  void reset_socket() {
    count_word(&plan_.report->resets);
    if (keeps_socket_ && disconnect(fd_) >= 0) return;
    reset(fd_);
    fd_ = -1;
    is_used_ = false;
  }

  Result hand_over() {
    const Result unlimited = report_failure(Call::setsockopt, set_connect_wait(fd_, 0));
    if (unlimited < 0) return unlimited;
    const Result nonblocking = report_failure(Call::fcntl, set_nonblocking(fd_));
    return nonblocking < 0 ? nonblocking : std::exchange(fd_, -1) + 1;
  }

  void drop() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
    is_used_ = false;
  }

  const BurstPlan& plan_;
  Home home_;
  int64_t now_ns_;
  const int64_t ends_ns_;
  int64_t next_check_ns_;
  uint32_t attempts_ = 0;
  int fd_ = -1;
  /// Whether an attempt was made with this socket.
  bool is_used_ = false;
  /// "fresh" makes each attempt with a new socket; the others do where the kernel wants it.
  bool keeps_socket_;
};

}  // namespace

Result burst(const BurstPlan& plan) { return Burst(plan).run(); }

}  // namespace core
