#pragma once

#include <cstdint>

#include "core/burst.h"
#include "core/home.h"
#include "core/result.h"

namespace core {

/// What the engines of a burst share: its plan, when it is over, and the counters that JavaScript reads.
class Attempts {
 public:
  /// People watch the local port as progress, so one attempt in so many is enough: reading it at each costs
  /// 2 % of the rate.
  static constexpr uint32_t kShowPortEvery = 256;

  explicit Attempts(const BurstPlan& plan);

  const BurstPlan& plan() const { return plan_; }
  /// How many attempts were counted.
  uint32_t made() const { return made_; }
  /// Whether a limit of the plan is reached. Even the shortest slice makes one attempt.
  bool is_over();
  bool is_stopped() const;
  /// The size of the next batch of at most `most` attempts: the destination is checked between batches.
  uint32_t limit_batch(uint32_t most) const;
  /// Checks, every 10 ms and after the first attempts, that they go to this host. Returns 0 when they do, a
  /// Destination, which is also in the report and ends the burst, or -errno without an answer.
  Result check_destination_when_due();
  Result check_destination();

  /// socket(2), blocking unless the plan resets all; with strategy range its only local port is the peer's.
  /// Returns the fd.
  Result open_socket();

  /// Counts an attempt by what connect(2) answered; one that stays in progress was not answered. Records its
  /// local port where the plan has memory for it.
  void count(Result result, int fd);
  /// Counts an attempt whose local port is not recorded.
  void count(Result result);
  /// Notes the local port of the socket's last attempt.
  void show_port(int fd);

  /// getsockname(2): whether the socket has the peer's name.
  bool has_name_of_peer(int fd) const;
  /// Whether the connected socket is not the one to return: more self-connects are to follow this one, or the
  /// plan resets all.
  bool must_reset(int fd) const;
  /// How many more self-connects are to be reset.
  uint32_t resets_left() const;
  void count_reset();

  /// Notes the call whose -errno ends the burst. Returns `result`.
  Result report_failure(Call call, Result result);

  /// Notes that the kernel does not do what the ring was asked. Returns what ends the burst of a ring.
  Result refuse_ring();
  /// Whether this result of a ring's burst is refuse_ring()'s: the same errno of another call is that call's.
  bool is_ring_refused(Result result) const;

  /// Notes that the ring made these attempts.
  void count_by_ring(uint32_t attempts);
  /// Notes why no ring can make attempts.
  void note_ring_refusal(Result result);

 private:
  Result prepare(int fd);

  const BurstPlan& plan_;
  Home home_;
  int64_t now_ns_;
  const int64_t ends_ns_;
  int64_t next_check_ns_;
  uint32_t made_ = 0;
};

}  // namespace core
