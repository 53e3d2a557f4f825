#include "core/burst.h"

#include <napi.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "binding/value.h"

namespace binding {

namespace {

/// What must stay alive while a burst writes into it.
struct Job {
  core::BurstPlan plan;
  Socket* connected;
  Napi::ObjectReference memory;
  Napi::FunctionReference done;
};

core::Strategy strategy_named(Arguments* arguments, size_t index) {
  const std::string name = arguments->text(index);
  const auto* const found = std::find(std::begin(core::kStrategyNames), std::end(core::kStrategyNames), name);
  if (found == std::end(core::kStrategyNames)) arguments->missing<int>(index, "a strategy");
  return static_cast<core::Strategy>(found - std::begin(core::kStrategyNames));
}

uint16_t* ports_of(Arguments* arguments, size_t index, uint32_t attempts) {
  if (arguments->is_null(index)) return nullptr;
  const auto ports = arguments->array<uint16_t>(index, napi_uint16_array, "room for ports");
  if (ports.size() < attempts) return arguments->missing<uint16_t*>(index, "room for all ports");
  return ports.data();
}

core::BurstReport* report_of(Arguments* arguments, size_t index) {
  const auto words = arguments->array<uint32_t>(index, napi_uint32_array, "room for a report");
  if (words.size_bytes() == sizeof(core::BurstReport)) {
    return reinterpret_cast<core::BurstReport*>(words.data());
  }
  return arguments->missing<core::BurstReport*>(index, "room for a whole report");
}

const int32_t* stop_of(Arguments* arguments, size_t index) {
  const auto words = arguments->array<int32_t>(index, napi_int32_array, "a stop flag");
  return words.empty() ? arguments->missing<int32_t*>(index, "a stop flag") : words.data();
}

/// burst(handle, strategy, peer, attempts, selfConnects, sliceMs, stop, ports, report, done): the handle,
/// empty until then, holds the socket of the attempt that connected; done(0) or done(-errno) tells that it is
/// over.
Napi::Value burst(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  auto job = std::make_shared<Job>();
  job->connected = arguments.socket(0);
  job->plan.strategy = strategy_named(&arguments, 1);
  job->plan.peer = arguments.address(2);
  job->plan.attempts = static_cast<uint32_t>(arguments.number(3));
  job->plan.self_connects = static_cast<uint32_t>(arguments.number(4));
  job->plan.slice_ms = static_cast<uint32_t>(arguments.number(5));
  job->plan.stop = stop_of(&arguments, 6);
  job->plan.ports = ports_of(&arguments, 7, job->plan.attempts);
  job->plan.report = report_of(&arguments, 8);
  const Napi::Function done = arguments.function(9);
  if (arguments.wrong()) return arguments.nothing();
  Environment& environment = arguments.environment();
  job->plan.closing = &environment.closing();
  job->done = Napi::Persistent(done);
  Napi::Array memory = Napi::Array::New(info.Env());
  uint32_t count = 0;
  for (const size_t index : {0, 6, 7, 8}) memory.Set(count++, arguments.value(index));
  job->memory = Napi::Persistent(memory.As<Napi::Object>());

  const auto work = [job] {
    const core::Result result = core::burst(job->plan);
    // At once, and not when JavaScript is told: an environment that goes down meanwhile must find it.
    if (result > 0) job->connected->fd = result - 1;
    return std::min(result, 0);
  };
  environment.run(work, [job](Napi::Env env, core::Result result) {
    const napi_value argument = Napi::Number::New(env, result);
    napi_call_function(env, env.Global(), job->done.Value(), 1, &argument, nullptr);
  });
  return arguments.answer(0);
}

}  // namespace

void export_burst(Napi::Env env, Napi::Object exports) {
  Napi::Array strategies = Napi::Array::New(env);
  uint32_t count = 0;
  for (const char* name : core::kStrategyNames) {
    strategies.Set(count++, Napi::String::New(env, name));
  }
  exports.Set("strategies", strategies);
  exports.Set("outcomes", Napi::Number::New(env, core::kOutcomes));
  exports.Set("unanswered", Napi::Number::New(env, core::kUnanswered));
  exports.Set("burst", Napi::Function::New(env, burst, "burst"));
}

}  // namespace binding
