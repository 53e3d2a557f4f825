#include "core/burst.h"

#include <napi.h>

#include <memory>
#include <span>

#include "binding/value.h"

namespace binding {

namespace {

/// A burst writes into these objects from its thread, so they must live until it ends.
struct Job {
  core::BurstPlan plan;
  core::ConnectingSocket connecting;
  Socket* connected;
  Napi::ObjectReference memory;
  Napi::FunctionReference done;
};

core::Strategy read_strategy(Arguments& arguments, size_t index) {
  return static_cast<core::Strategy>(arguments.read_choice(index, core::kStrategyNames, "a strategy"));
}

/// Memory for the local port of every attempt, or null.
uint16_t* read_ports(Arguments& arguments, size_t index, uint32_t attempts) {
  if (arguments.is_null(index)) return nullptr;
  const auto ports = arguments.read_array<uint16_t>(index, napi_uint16_array, "null or memory for all ports");
  if (ports.size() < attempts) arguments.refuse(index, "null or memory for all ports");
  return ports.data();
}

core::BurstReport* read_report(Arguments& arguments, size_t index) {
  const auto words = arguments.read_array<uint32_t>(index, napi_uint32_array, "memory for a whole report");
  if (words.size_bytes() != sizeof(core::BurstReport)) arguments.refuse(index, "memory for a whole report");
  return reinterpret_cast<core::BurstReport*>(words.data());
}

const int32_t* read_stop(Arguments& arguments, size_t index) {
  const auto words = arguments.read_array<int32_t>(index, napi_int32_array, "a stop flag");
  if (words.empty()) arguments.refuse(index, "a stop flag");
  return words.data();
}

/// Four arguments: whether to bind late, the low and the high end of IP_LOCAL_PORT_RANGE, whether to reset
/// all.
core::Sampling read_sampling(Arguments& arguments, size_t index) {
  return {.binds_late = arguments.read_flag(index),
          .low = arguments.read_port(index + 1),
          .high = arguments.read_port(index + 2),
          .resets_all = arguments.read_flag(index + 3)};
}

/// burst(handle, strategy, peer, attempts, selfConnects, sliceMs, stop, ports, report, trustsBind, engine,
/// bindsLate, low, high, resetsAll, done): starts a burst.
/// It fills the empty handle with the socket that connected, then calls done(0) or done(-errno). When burst
/// itself returns -errno, it started nothing and does not call done: -EAGAIN when no thread can be created.
core::Result burst(Arguments& arguments) {
  auto job = std::make_shared<Job>();
  job->connected = arguments.read_socket(0);
  job->plan.strategy = read_strategy(arguments, 1);
  job->plan.peer = arguments.read_address(2);
  job->plan.attempts = arguments.read_count(3);
  job->plan.self_connects = arguments.read_count(4);
  job->plan.slice_ms = arguments.read_count(5);
  job->plan.stop = read_stop(arguments, 6);
  job->plan.ports = read_ports(arguments, 7, job->plan.attempts);
  job->plan.report = read_report(arguments, 8);
  job->plan.trusts_bind = arguments.read_flag(9);
  job->plan.engine =
      static_cast<core::EngineName>(arguments.read_choice(10, core::kEngineNames, "an engine"));
  job->plan.sampling = read_sampling(arguments, 11);
  const Napi::Function done = arguments.read_function(15);
  if (arguments.is_refused()) return 0;
  if (!job->connected->is_empty()) return -EALREADY;
  Environment& environment = arguments.environment();
  job->plan.closing = &environment.closing();
  job->plan.connecting = &job->connecting;
  Napi::Array memory = Napi::Array::New(arguments.env());
  uint32_t count = 0;
  for (const size_t index : {0, 6, 7, 8}) memory.Set(count++, arguments.value(index));
  job->done = Napi::Persistent(done);
  job->memory = Napi::Persistent(memory.As<Napi::Object>());
  if (job->done.IsEmpty() || job->memory.IsEmpty()) return -ENOMEM;

  const auto work = [job] {
    const core::Result result = core::burst(job->plan);
    // Fill it here, not later on the JavaScript thread: an environment that shuts down meanwhile must close
    // it.
    return result > 0 ? job->connected->fill(result - 1) : result;
  };
  const auto call_done = [job](Napi::Env env, core::Result result) {
    const napi_value argument = Napi::Number::New(env, result);
    // This call fails only while a worker is terminated; then nobody can receive the failure.
    static_cast<void>(napi_call_function(env, env.Global(), job->done.Value(), 1, &argument, nullptr));
  };
  return environment.run(work, call_done, [job] { core::interrupt_burst(job->plan); });
}

/// interruptBursts(): ends the connect(2) in which a stopped burst waits; see core::interrupt_burst().
core::Result interrupt_bursts(Arguments& arguments) {
  arguments.environment().interrupt_work();
  return 0;
}

}  // namespace

void export_burst(Napi::Env env, Napi::Object exports) {
  exports.Set("strategies", to_array(env, core::kStrategyNames));
  exports.Set("engines", to_array(env, core::kEngineNames));
  exports.Set("burstCalls", to_array(env, core::kCallNames));
  exports.Set("outcomes", Napi::Number::New(env, core::kOutcomes));
  exports.Set("unanswered", Napi::Number::New(env, core::kUnanswered));
  export_call<burst>(exports, "burst");
  export_call<interrupt_bursts>(exports, "interruptBursts");
}

}  // namespace binding
