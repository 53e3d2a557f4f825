#include "core/attempts.h"

#include <algorithm>
#include <cstring>

#include "core/counter.h"
#include "core/joined.h"
#include "core/option.h"
#include "core/syscall.h"

namespace core {

namespace {

/// The attempts are checked to go to this host after the first few of a burst, and then this often: another
/// host gets 10 ms of them at most.
constexpr uint32_t kFirstAttempts = 16;
constexpr int64_t kCheckEveryNs = 10'000'000;

}  // namespace

Attempts::Attempts(const BurstPlan& plan)
    : plan_(plan),
      home_(plan.peer, plan.trusts_bind),
      now_ns_(monotonic_ns()),
      ends_ns_(now_ns_ + static_cast<int64_t>(plan.slice_ms) * 1'000'000),
      next_check_ns_(now_ns_ + kCheckEveryNs) {}

bool Attempts::is_over() {
  if (made_ >= plan_.attempts || is_stopped()) return true;
  now_ns_ = monotonic_ns();
  return made_ > 0 && now_ns_ >= ends_ns_;
}

bool Attempts::is_stopped() const {
  return core::is_stopped(plan_) || load_word(&plan_.report->destination) != 0;
}

uint32_t Attempts::limit_batch(uint32_t most) const {
  const uint32_t until = made_ < kFirstAttempts ? std::min(kFirstAttempts, plan_.attempts) : plan_.attempts;
  return std::min(most, until - made_);
}

Result Attempts::check_destination_when_due() {
  return made_ == kFirstAttempts || now_ns_ >= next_check_ns_ ? check_destination() : 0;
}

Result Attempts::check_destination() {
  const Result destination = home_.check(load_word(&plan_.report->outcomes[ECONNREFUSED]));
  if (destination > 0) store_word(&plan_.report->destination, static_cast<uint32_t>(destination));
  next_check_ns_ = now_ns_ + kCheckEveryNs;
  return report_failure(Call::socket, destination);
}

Result Attempts::report_failure(Call call, Result result) {
  if (result < 0) store_word(&plan_.report->failed_call, static_cast<uint32_t>(call));
  return result;
}

Result Attempts::refuse_ring() { return report_failure(Call::ring_setup, -EOPNOTSUPP); }

bool Attempts::is_ring_refused(Result result) const {
  const auto setup = static_cast<uint32_t>(Call::ring_setup);
  return result == -EOPNOTSUPP && load_word(&plan_.report->failed_call) == setup;
}

Result Attempts::open_socket() {
  const Blocking blocking = plan_.sampling.resets_all ? Blocking::no : Blocking::yes;
  const Result fd = report_failure(Call::socket, socket(plan_.peer.family, blocking));
  if (fd < 0) return fd;
  const Result prepared = prepare(fd);
  if (prepared >= 0) return fd;
  close(fd);
  return prepared;
}

Result Attempts::prepare(int fd) {
  const auto& [binds_late, low, high, resets_all] = plan_.sampling;
  const uint16_t only = plan_.strategy == Strategy::range ? port_of(plan_.peer) : 0;
  Result result = 0;
  if (only > 0 || high > 0) {
    result = set_local_port_range(fd, only > 0 ? only : low, only > 0 ? only : high);
  }
  if (result >= 0 && binds_late) result = set_late_bind(fd);
  if (result < 0) return report_failure(Call::setsockopt, result);
  return binds_late ? report_failure(Call::bind, bind(fd, with_port(plan_.peer, 0))) : result;
}

void Attempts::count(Result result, int fd) {
  if (plan_.ports != nullptr || made_ % kShowPortEvery == 0) {
    show_port(fd);
    if (plan_.ports != nullptr)
      plan_.ports[made_] = static_cast<uint16_t>(load_word(&plan_.report->local_port));
  }
  count(result);
}

void Attempts::count(Result result) {
  const size_t outcome = is_in_progress(result) ? kUnanswered : static_cast<size_t>(-result);
  count_word(&plan_.report->outcomes[outcome < kOutcomes ? outcome : kUnanswered]);
  made_++;
}

void Attempts::show_port(int fd) {
  Address local;
  store_word(&plan_.report->local_port, getsockname(fd, &local) < 0 ? 0 : port_of(local));
}

bool Attempts::has_name_of_peer(int fd) const {
  Address local;
  return getsockname(fd, &local) >= 0 && std::memcmp(&local, &plan_.peer, sizeof local) == 0;
}

/// A name that is the peer's is enough. JavaScript checks the socket that is handed over more closely.
bool Attempts::must_reset(int fd) const {
  if (plan_.sampling.resets_all) return true;
  return resets_left() > 0 && (has_name_of_peer(fd) || is_joined(fd) > 0);
}

uint32_t Attempts::resets_left() const {
  const uint32_t counted = load_word(&plan_.report->resets) + 1;
  return counted < plan_.self_connects ? plan_.self_connects - counted : 0;
}

void Attempts::count_reset() { count_word(&plan_.report->resets); }

void Attempts::count_by_ring(uint32_t attempts) {
  uint32_t* word = &plan_.report->ring_attempts;
  store_word(word, load_word(word) + attempts);
}

void Attempts::note_ring_refusal(Result result) {
  store_word(&plan_.report->ring_refusal, static_cast<uint32_t>(-result));
}

}  // namespace core
