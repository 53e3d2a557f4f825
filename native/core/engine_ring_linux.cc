#include <algorithm>
#include <utility>

#include "core/engine.h"
#include "core/ring.h"
#include "core/syscall.h"

namespace core {

namespace {

/// Attempts of a batch on one socket: with 16 the rate is 4 % lower, with 64 it is the same.
constexpr uint32_t kChain = 32;
/// Attempts of a batch that each have a socket. All of them are made, also those after a self-connect.
constexpr uint32_t kSlots = 8;

/// Results of a connect(2) that sent no SYN: of a cancelled or broken chain, or of a socket that connected in
/// an entry before.
bool is_no_attempt(Result result) {
  return result == Ring::kNotRun || result == -ECANCELED || result == -EALREADY || result == -ECONNABORTED ||
         result == -EISCONN || result == -EAGAIN || result == -EINTR;
}

/// The kernel does not do what an entry asks for.
bool is_incapable(Result result) {
  return result == -EINVAL || result == -EOPNOTSUPP || result == -ENOSYS || result == -EAFNOSUPPORT;
}

class RingEngine : public Engine {
 public:
  explicit RingEngine(Attempts& attempts) : attempts_(attempts), plan_(attempts.plan()) {
    peer_length_ = to_sockaddr(plan_.peer, &peer_);
    any_port_length_ = to_sockaddr(with_port(plan_.peer, 0), &any_port_);
    nowhere_.ss_family = AF_UNSPEC;
  }
  ~RingEngine() override { RingEngine::release(); }

  /// -EOPNOTSUPP when the kernel lacks an operation that the strategy needs.
  Result open() {
    const bool has_slots = plan_.strategy == Strategy::fresh;
    const Result result = ring_.open(2 * kChain, has_slots ? kSlots : 0);
    if (result < 0) return result;
    bool can = ring_.supports(RingOperation::connect);
    if (has_slots) can &= ring_.supports(RingOperation::install) && ring_.supports(RingOperation::close);
    if (plan_.strategy == Strategy::autobind) can &= ring_.supports(RingOperation::bind);
    return can ? 0 : -EOPNOTSUPP;
  }

  Result run(uint32_t most) override {
    const uint64_t until = uint64_t{attempts_.made()} + most;
    while (attempts_.made() < until && !attempts_.is_over()) {
      Result result = attempts_.check_destination_when_due();
      if (result != 0) return std::min(result, 0);
      const uint32_t before = attempts_.made();
      result = plan_.strategy == Strategy::fresh ? run_slots() : run_chain();
      attempts_.count_by_ring(attempts_.made() - before);
      if (result != 0) return result;
      // A batch without an attempt would go on for ever.
      if (attempts_.made() == before && !attempts_.is_stopped()) return attempts_.refuse_ring();
    }
    return 0;
  }

  void release() override {
    if (fd_ >= 0) reset(std::exchange(fd_, -1));
  }

 private:
  /// How many connects on one socket follow each other. With a known local port every one of them connects,
  /// so that the last self-connect, which is handed over, ends its batch.
  uint32_t chain_length() const {
    const uint32_t most = has_known_port() ? std::min(kChain, attempts_.resets_left() + 1) : kChain;
    return attempts_.limit_batch(most);
  }

  bool is_autobind() const { return plan_.strategy == Strategy::autobind; }
  bool has_known_port() const {
    return plan_.strategy == Strategy::bind || plan_.strategy == Strategy::range;
  }

  /// Leaves no socket where bind(2) has failed, which was the attempt.
  Result prepare_socket() {
    if (fd_ >= 0) return 0;
    const Result fd = attempts_.open_socket();
    if (fd < 0) return fd;
    fd_ = fd;
    if (plan_.strategy != Strategy::bind) return 0;
    const Result bound = bind(fd_, plan_.peer);
    if (bound >= 0) return 0;
    attempts_.count(bound);
    drop();
    return 0;
  }

  /// Connects on one socket, one after another. When one connects, the others send no SYN; with a known port
  /// each is disconnected before the next, except the last.
  Result run_chain() {
    Result result = prepare_socket();
    if (result < 0) return result;
    if (fd_ < 0) return 0;
    const uint32_t length = chain_length();
    const RingSocket socket = {fd_};
    for (uint32_t i = 0; i < length; i++) {
      const Link link = i + 1 == length ? Link::none : Link::hard;
      // When bind(2) fails the rest of the chain does not run: its connects would pick other ports.
      if (is_autobind()) ring_.bind(socket, any_port_, any_port_length_, Link::soft);
      ring_.connect(socket, peer_, peer_length_, link);
      if (has_known_port() && link != Link::none) ring_.connect(socket, nowhere_, sizeof(sockaddr), link);
    }
    result = run_ring();
    if (result < 0) return result;
    Batch batch;
    const uint32_t step = is_autobind() || has_known_port() ? 2 : 1;
    for (uint32_t i = 0; i < length && !batch.is_refused; i++) {
      const Result bound = is_autobind() ? ring_.result(i * step) : 0;
      count(bound < 0 ? bound : ring_.result(i * step + (is_autobind() ? 1 : 0)), batch);
    }
    // The SYN of the connect that was cancelled was sent.
    if (attempts_.is_stopped() && batch.attempts == 0) attempts_.count(-EINPROGRESS);
    if (batches_++ % (Attempts::kShowPortEvery / kChain) == 0) attempts_.show_port(fd_);
    if (batch.connected > 0 && (!has_known_port() || batch.is_last_connected)) {
      return end_connected(batch.connected);
    }
    // The chain has disconnected all that connected: another socket has taken the port since.
    for (uint32_t i = 0; i < batch.connected; i++) attempts_.count_reset();
    if (batch.is_broken) drop();
    // After a cancel, bind(2) of the socket that still connects is EINVAL.
    return attempts_.is_stopped() ? 0 : end_batch(batch);
  }

  /// Connects of a new socket each, all at once.
  Result run_slots() {
    // Where something listens, one connect is enough to learn it.
    const uint32_t length = attempts_.limit_batch(attempts_.made() == 0 ? 1 : kSlots);
    for (int slot = 0; slot < static_cast<int>(length); slot++) {
      ring_.socket(plan_.peer.family, slot, Link::soft);
      ring_.connect({slot, true}, peer_, peer_length_, Link::none);
    }
    Result result = run_ring();
    if (result < 0) return result;
    Batch batch;
    bool is_connected[kSlots] = {}, is_cancelled[kSlots] = {};
    for (uint32_t i = 0; i < length; i++) {
      result = ring_.result(2 * i);
      if (result == Ring::kNotRun || result == -EOPNOTSUPP) return attempts_.refuse_ring();
      if (result < 0) return attempts_.report_failure(Call::socket, result);
      result = ring_.result(2 * i + 1);
      is_connected[i] = result == 0;
      is_cancelled[i] = result == -ECANCELED;
      // The SYN of a connect that was cancelled was sent.
      count(result == -ECANCELED ? -EINPROGRESS : result, batch);
    }
    result = disconnect_slots(is_cancelled);
    if (result < 0) return result;
    if (batches_++ % (Attempts::kShowPortEvery / kSlots) == 0) {
      result = show_slot(0);
      if (result < 0) return result;
    }
    return batch.connected > 0 ? take_connected(is_connected) : end_batch(batch);
  }

  /// What the results of a batch were.
  struct Batch {
    uint32_t attempts = 0;
    uint32_t connected = 0;
    bool is_last_connected = false;
    /// Whether the socket needs a new one: an outcome was neither a connect nor a refusal.
    bool is_broken = false;
    /// Whether the kernel does not do what an entry asked for.
    bool is_refused = false;
  };

  Result end_batch(const Batch& batch) { return batch.is_refused ? attempts_.refuse_ring() : 0; }

  void count(Result result, Batch& batch) {
    if (is_no_attempt(result)) return;
    if (is_incapable(result)) {
      // After a connect, bind(2) of the same socket is an error of ours, which ended the chain.
      if (batch.connected == 0) batch.is_refused = true;
      batch.is_broken = true;
      return;
    }
    attempts_.count(result);
    batch.attempts++;
    batch.is_last_connected = result == 0;
    if (result == 0) batch.connected++;
    if (result != 0 && result != -ECONNREFUSED) batch.is_broken = true;
  }

  /// The socket of a chain has connected. The chain has disconnected all of `connected` but the last: they
  /// had its name, and count as self-connects only when that is the peer's.
  Result end_connected(uint32_t connected) {
    if (connected > 1 && !attempts_.has_name_of_peer(fd_)) return hand_over(std::exchange(fd_, -1));
    for (uint32_t i = 1; i < connected; i++) attempts_.count_reset();
    if (!attempts_.must_reset(fd_)) return hand_over(std::exchange(fd_, -1));
    attempts_.count_reset();
    if (disconnect(fd_) < 0) reset(std::exchange(fd_, -1));
    return 0;
  }

  /// Hands over the first connected socket that is not to be reset, and resets the others.
  Result take_connected(const bool (&is_connected)[kSlots]) {
    int taken = -1;
    for (int slot = 0; slot < static_cast<int>(kSlots); slot++) {
      if (!is_connected[slot]) continue;
      const Result fd = take_slot(slot);
      if (fd < 0) {
        if (taken >= 0) reset(taken);
        return fd;
      }
      const bool is_spare = attempts_.must_reset(fd);
      if (is_spare) attempts_.count_reset();
      if (is_spare || taken >= 0) {
        reset(fd);
      } else {
        taken = fd;
      }
    }
    return taken < 0 ? 0 : hand_over(taken);
  }

  /// Gives a slot's socket a descriptor, and empties the slot. Without a descriptor the socket is
  /// disconnected: closed plainly, a self-connect would keep its port in TIME-WAIT.
  Result take_slot(int slot) {
    ring_.install(slot);
    Result result = finish_ring();
    if (result < 0) return result;
    const Result fd = report_ring(ring_.result(0));
    if (fd < 0) ring_.connect({slot, true}, nowhere_, sizeof(sockaddr), Link::hard);
    ring_.close_slot(slot);
    result = finish_ring();
    return result < 0 ? result : fd;
  }

  /// A connect that was cancelled may have connected its socket in that moment, and to itself.
  Result disconnect_slots(const bool (&is_cancelled)[kSlots]) {
    for (int slot = 0; slot < static_cast<int>(kSlots); slot++) {
      if (is_cancelled[slot]) ring_.connect({slot, true}, nowhere_, sizeof(sockaddr), Link::none);
    }
    return finish_ring();
  }

  /// Fails when the ring does: an entry that the kernel did not take would install a descriptor later.
  /// Without a descriptor no port is shown.
  Result show_slot(int slot) {
    ring_.install(slot);
    const Result result = finish_ring();
    if (result < 0 || ring_.result(0) < 0) return std::min(result, 0);
    attempts_.show_port(ring_.result(0));
    close(ring_.result(0));
    return 0;
  }

  Result run_ring() {
    return report_ring(ring_.run([this] { return attempts_.is_stopped(); }));
  }

  /// Runs entries that wait for nobody, also after a stop.
  Result finish_ring() {
    return report_ring(ring_.run([] { return false; }));
  }

  Result report_ring(Result result) {
    return result == -EOPNOTSUPP ? attempts_.refuse_ring()
                                 : attempts_.report_failure(Call::ring_enter, result);
  }

  Result hand_over(int fd) {
    const Result result = attempts_.report_failure(Call::fcntl, set_nonblocking(fd));
    if (result >= 0) return fd + 1;
    reset(fd);
    return result;
  }

  void drop() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  Attempts& attempts_;
  const BurstPlan& plan_;
  Ring ring_;
  sockaddr_storage peer_, any_port_, nowhere_{};
  socklen_t peer_length_, any_port_length_;
  uint32_t batches_ = 0;
  /// The socket of a chain.
  int fd_ = -1;
};

}  // namespace

Result make_ring_engine(Attempts& attempts, std::unique_ptr<Engine>* out) {
  // A ring has no getsockname(2), and asking for every port takes more time than it saves.
  if (attempts.plan().ports != nullptr) return -EOPNOTSUPP;
  auto engine = std::make_unique<RingEngine>(attempts);
  const Result result = engine->open();
  if (result >= 0) *out = std::move(engine);
  return result;
}

}  // namespace core
