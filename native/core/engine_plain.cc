#include <utility>

#include "core/engine.h"
#include "core/syscall.h"

namespace core {

namespace {

/// A blocking connect(2) returns this often, so that the burst can check whether to stop. Waiting in the
/// kernel keeps an attempt at one connect(2): to a dead port of this host it returns the refusal at once.
constexpr int kConnectWaitMs = 2;
/// The most calls of connect(2) in one attempt: 8 minutes when each of them waits, and a moment when they
/// return EALREADY or EINTR at once.
constexpr int kMostConnects = 1 << 18;

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
      if (is_refused_reuse(result)) continue;
      const bool is_left = is_in_progress(result) && plan_.sampling.resets_all;
      if (is_in_progress(result) && !is_left && !attempts_.is_stopped()) {
        return attempts_.report_failure(Call::connect, result);
      }
      attempts_.count(result, fd_);
      if (result == 0 && !attempts_.must_reset(fd_)) return hand_over();
      if (is_in_progress(result) && !is_left) return 0;  // Stopped.
      // Linux lets a socket connect again after a refusal. After any other error a new socket is needed.
      if (result == 0) {
        reset_socket();
      } else if (is_left) {
        // It may have connected by now.
        reset(std::exchange(fd_, -1));
        is_used_ = false;
      } else if (!keeps_socket_ || result != -ECONNREFUSED) {
        drop();
      }
    }
    return 0;
  }

  void release() override {
    if (fd_ >= 0) reset(std::exchange(fd_, -1));
    is_used_ = false;
  }

 private:
  Result prepare_socket() {
    if (fd_ >= 0) return 0;
    const Result fd = attempts_.open_socket();
    if (fd < 0) return fd;
    fd_ = fd;
    return attempts_.report_failure(Call::setsockopt, set_connect_wait(fd_, kConnectWaitMs));
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
    if (plan_.sampling.resets_all) return result;
    for (int connects = 1; is_in_progress(result) && connects < kMostConnects && !attempts_.is_stopped();
         connects++) {
      result = connect(fd_, plan_.peer);
      const Result checked = is_in_progress(result) ? attempts_.check_destination() : 0;
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

  /// By disconnect(), which sends RST as a reset does, the socket serves for the next attempt.
  void reset_socket() {
    attempts_.count_reset();
    if (keeps_socket_ && disconnect(fd_) >= 0) return;
    reset(std::exchange(fd_, -1));
    is_used_ = false;
  }

  Result hand_over() {
    const Result unlimited = attempts_.report_failure(Call::setsockopt, set_connect_wait(fd_, 0));
    if (unlimited < 0) return unlimited;
    const Result nonblocking = attempts_.report_failure(Call::fcntl, set_nonblocking(fd_));
    return nonblocking < 0 ? nonblocking : std::exchange(fd_, -1) + 1;
  }

  void drop() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
    is_used_ = false;
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
