#include "core/reactor.h"

#include <napi.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "binding/value.h"

namespace binding {

namespace {

/// Where JavaScript is told of ended connects: its function, and its memory for the tokens.
struct Listener {
  Napi::FunctionReference ready;
  Napi::Reference<Napi::Float64Array> tokens;
};

void deliver(Napi::Env env, Listener* listener, const std::vector<uint64_t>& tokens) {
  Napi::Float64Array room = listener->tokens.Value();
  for (size_t done = 0; done < tokens.size();) {
    const size_t count = std::min(tokens.size() - done, room.ElementLength());
    std::copy_n(tokens.begin() + static_cast<ptrdiff_t>(done), count, room.Data());
    const napi_value argument = Napi::Number::New(env, static_cast<double>(count));
    // The status is not trusted: while a worker is terminated every call fails, and that is its end.
    napi_call_function(env, env.Global(), listener->ready.Value(), 1, &argument, nullptr);
    done += count;
  }
}

Napi::Value reactor_start(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  Environment& environment = arguments.environment();
  const Napi::Function ready = arguments.function(0);
  arguments.array<double>(1, napi_float64_array, "room for tokens");
  if (arguments.wrong()) return arguments.nothing();
  if (environment.reactor != nullptr) return arguments.answer(0);
  auto listener = std::make_shared<Listener>();
  listener->ready = Napi::Persistent(ready);
  listener->tokens = Napi::Persistent(arguments.value(1).As<Napi::Float64Array>());
  auto reactor =
      std::make_unique<core::Reactor>([&environment, listener](const std::vector<uint64_t>& tokens) {
        environment.post([listener, tokens](Napi::Env env) { deliver(env, listener.get(), tokens); });
      });
  const core::Result result = reactor->start();
  if (result >= 0) environment.reactor = std::move(reactor);
  return arguments.answer(result);
}

Napi::Value watch(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  Socket* socket = arguments.socket(0);
  const auto token = static_cast<uint64_t>(arguments.number(1));
  if (arguments.wrong()) return arguments.nothing();
  Environment& environment = arguments.environment();
  const core::Result result = environment.reactor->watch(socket->fd, token);
  if (result >= 0 && !std::exchange(socket->watched, true)) environment.hold();
  return arguments.answer(result);
}

Napi::Value unwatch(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  Socket* socket = arguments.socket(0);
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(arguments.environment().unwatch(socket));
}

}  // namespace

void export_reactor(Napi::Env env, Napi::Object exports) {
  exports.Set("reactorStart", Napi::Function::New(env, reactor_start, "reactorStart"));
  exports.Set("watch", Napi::Function::New(env, watch, "watch"));
  exports.Set("unwatch", Napi::Function::New(env, unwatch, "unwatch"));
}

}  // namespace binding
