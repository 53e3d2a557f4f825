#include "core/burst.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "core/attempts.h"
#include "core/choice.h"
#include "core/counter.h"
#include "core/engine.h"

namespace core {

namespace {

Result run_ring(Attempts& attempts) {
  std::unique_ptr<Engine> ring;
  const Result made = make_ring_engine(attempts, &ring);
  const Result result = made < 0 ? attempts.report_failure(Call::ring_setup, made) : ring->run(UINT32_MAX);
  if (made < 0 || attempts.is_ring_refused(result)) attempts.note_ring_refusal(result);
  return result;
}

/// Attempts by whichever engine is cheaper; by the plain one where the ring cannot make them.
Result run_cheapest(Attempts& attempts) {
  Choice& choice = Choice::of(attempts.plan().strategy);
  const std::unique_ptr<Engine> plain = make_plain_engine(attempts);
  std::unique_ptr<Engine> ring;
  Result result = choice.may_take_ring() ? make_ring_engine(attempts, &ring) : 0;
  if (result < 0) attempts.note_ring_refusal(result);
  for (result = 0; result == 0 && !attempts.is_over();) {
    const Choice::Turn turn = ring ? choice.next() : Choice::Turn{false, UINT32_MAX};
    const int64_t began_ns = thread_cpu_ns();
    const uint32_t before = attempts.made();
    Engine& engine = turn.is_by_ring ? *ring : *plain;
    result = engine.run(turn.attempts);
    if (ring != nullptr) choice.add(turn, attempts.made() - before, thread_cpu_ns() - began_ns);
    engine.release();
    if (!turn.is_by_ring || !attempts.is_ring_refused(result)) continue;
    attempts.note_ring_refusal(std::exchange(result, 0));
    ring.reset();
  }
  return result;
}

}  // namespace

Result burst(const BurstPlan& plan) {
  Attempts attempts(plan);
  const Result result = plan.engine == EngineName::ring    ? run_ring(attempts)
                        : plan.engine == EngineName::plain ? make_plain_engine(attempts)->run(UINT32_MAX)
                                                           : run_cheapest(attempts);
  return result != 0 ? result : std::min(attempts.check_destination(), 0);
}

bool is_stopped(const BurstPlan& plan) {
  return load_word(plan.stop) != 0 || plan.closing->load(std::memory_order_relaxed);
}

void interrupt_burst(const BurstPlan& plan) {
  if (is_stopped(plan)) plan.connecting->interrupt();
}

}  // namespace core
