#include <utility>

#include "core/engine.h"
#include "core/joined.h"
#include "core/syscall.h"

namespace core {

namespace {

/// The most calls of connect(2) in one attempt: a signal interrupts one, and another goes on with it.
constexpr int kMostConnects = 1 << 18;

/// Sockets that block keep an attempt at one connect(2): to a dead port of this host it returns the refusal
/// at once. interrupt_burst() ends one that waits.
class PlainEngine : public Engine {
 public:
  explicit PlainEngine(Attempts& attempts)
      : attempts_(attempts), plan_(attempts.plan()), keeps_socket_(plan_.strategy != Strategy::fresh) {}
  ~PlainEngine() override { PlainEngine::release(); }

  Result run(uint32_t most) override {
    const uint64_t until = uint64_t{attempts_.made()} + most;
    while (attempts_.made() < until && !attempts_.is_over()) {
      Result result = attempts_.check_destination_when_due();
      if (result < 0) return result;
      if (result > 0) break;
      result = prepare_socket();
      if (result < 0) return result;
      result = attempt();
      if (result != -ECONNREFUSED && plan_.connecting->is_interrupted()) return end_interrupted(result);
      if (is_refused_reuse(result)) continue;
      if (is_in_progress(result)) return attempts_.report_failure(Call::connect, result);
      attempts_.count(result, fd_);
      if (result == 0 && !attempts_.must_reset(fd_)) return hand_over();
      // Linux lets a socket connect again after a refusal. After any other error a new socket is needed.
      if (result == 0) {
        reset_socket();
      } else if (!keeps_socket_ || result != -ECONNREFUSED) {
        drop();
      }
    }
    return 0;
  }

  void release() override {
    if (fd_ >= 0) reset(take_socket());
  }

 private:
  Result prepare_socket() {
    if (fd_ >= 0) return 0;
    const Result fd = attempts_.open_socket();
    if (fd < 0) return fd;
    fd_ = fd;
    plan_.connecting->publish(fd_);
    return 0;
  }

  /// The caller closes it, or hands it over.
  int take_socket() {
    plan_.connecting->take_back();
    is_used_ = false;
    return std::exchange(fd_, -1);
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
    for (int connects = 1; is_in_progress(result) && connects < kMostConnects; connects++) {
      result = connect(fd_, plan_.peer);
    }
    // A second connect(2) returns EISCONN when the socket has connected after the first one was interrupted.
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

  /// By disconnect(), which sends RST as a reset does, the socket serves for the next attempt.
  void reset_socket() {
    attempts_.count_reset();
    if (keeps_socket_ && disconnect(fd_) >= 0) return;
    reset(take_socket());
  }

  /// The burst is stopped. The connect had no answer yet, or ended at that moment: what connected can be read
  /// no more, so nobody gets it.
  Result end_interrupted(Result result) {
    const bool is_unanswered = result == -ECONNRESET || result == -ECONNABORTED;
    attempts_.count(is_unanswered ? -EINPROGRESS : result, fd_);
    return result == 0 ? give_up(take_socket()) : 0;
  }

  Result give_up(int fd) {
    if (is_joined(fd) > 0) attempts_.count_reset();
    reset(fd);
    return 0;
  }

  Result hand_over() {
    const Result nonblocking = attempts_.report_failure(Call::fcntl, set_nonblocking(fd_));
    if (nonblocking < 0) return nonblocking;
    const int fd = take_socket();
    return plan_.connecting->is_interrupted() ? give_up(fd) : fd + 1;
  }

  void drop() {
    if (fd_ >= 0) close(take_socket());
  }

  Attempts& attempts_;
  const BurstPlan& plan_;
  int fd_ = -1;
  /// Whether an attempt was made with this socket.
  bool is_used_ = false;
  /// "fresh" makes each attempt with a new socket; the others where the kernel requires it.
  bool keeps_socket_;
};

}  // namespace

std::unique_ptr<Engine> make_plain_engine(Attempts& attempts) {
  return std::make_unique<PlainEngine>(attempts);
}

}  // namespace core
