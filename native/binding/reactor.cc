#include "core/reactor.h"

#include <napi.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "binding/value.h"

namespace binding {

namespace {

/// The JavaScript function that is called when sockets are ready, and its memory for their tokens.
struct Listener {
  Napi::FunctionReference ready;
  Napi::Reference<Napi::Float64Array> tokens;
};

/// Calls JavaScript with one integer; returns false when the call failed. Every call fails while a worker is
/// terminated; then nobody can receive the failure.
bool call_ready(Napi::Env env, Listener* listener, double value) {
  const napi_value argument = Napi::Number::New(env, value);
  return napi_call_function(env, env.Global(), listener->ready.Value(), 1, &argument, nullptr) == napi_ok;
}

void deliver(Napi::Env env, Listener* listener, const std::vector<uint64_t>& tokens) {
  Napi::Float64Array memory = listener->tokens.Value();
  for (size_t done = 0; done < tokens.size();) {
    const size_t count = std::min(tokens.size() - done, memory.ElementLength());
    std::copy_n(tokens.begin() + static_cast<ptrdiff_t>(done), count, memory.Data());
    if (!call_ready(env, listener, static_cast<double>(count))) return;
    done += count;
  }
}

/// reactorStart(ready, tokens): starts the thread. It calls ready(count) for each batch of tokens, and
/// ready(-errno) once when waiting has failed for good.
core::Result reactor_start(Arguments& arguments) {
  Environment& environment = arguments.environment();
  const Napi::Function ready = arguments.read_function(0);
  const auto memory = arguments.read_array<double>(1, napi_float64_array, "memory for tokens");
  if (memory.empty()) arguments.refuse(1, "memory for tokens");
  if (arguments.is_refused() || environment.reactor != nullptr) return 0;
  if (environment.readiness() < 0) return environment.readiness();
  auto listener = std::make_shared<Listener>();
  listener->ready = Napi::Persistent(ready);
  listener->tokens = Napi::Persistent(arguments.value(1).As<Napi::Float64Array>());
  if (listener->ready.IsEmpty() || listener->tokens.IsEmpty()) return -ENOMEM;
  auto reactor = std::make_unique<core::Reactor>(
      [&environment, listener](core::Result result, const std::vector<uint64_t>& tokens) {
        environment.post([listener, result, tokens](Napi::Env env) {
          if (result < 0) call_ready(env, listener.get(), result);
          deliver(env, listener.get(), tokens);
        });
      });
  const core::Result result = reactor->start();
  if (result >= 0) environment.reactor = std::move(reactor);
  return result;
}

core::Result watch(Arguments& arguments) {
  Socket* socket = arguments.read_socket(0);
  constexpr uint64_t kLastToken = (uint64_t{1} << 53) - 1;
  const auto token = arguments.read_integer<uint64_t>(1, "a token from 0 to 2^53 - 1", 0, kLastToken);
  const core::Directions directions = arguments.read_directions(2);
  return arguments.is_refused() ? 0 : arguments.environment().watch(socket, token, directions);
}

core::Result poll(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const core::Directions directions = arguments.read_directions(1);
  return arguments.is_refused() ? 0 : core::poll(fd, directions);
}

core::Result unwatch(Arguments& arguments) {
  Socket* socket = arguments.read_socket(0);
  return arguments.is_refused() ? 0 : arguments.environment().unwatch(socket);
}

}  // namespace

void export_reactor(Napi::Object exports) {
  export_call<reactor_start>(exports, "reactorStart");
  export_call<watch>(exports, "watch");
  export_call<poll>(exports, "poll");
  export_call<unwatch>(exports, "unwatch");
}

}  // namespace binding
