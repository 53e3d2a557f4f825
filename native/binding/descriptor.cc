#include <napi.h>

#include "binding/value.h"
#include "core/option.h"
#include "core/syscall.h"

namespace binding {

namespace {

/// What a guarded connect of Node's costs is counted in microseconds: plain descriptors here, no handles.
/// Their owner is libuv, which takes a new one over at once.
Napi::Value socket_in_range(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto family = static_cast<int>(arguments.number(0));
  const auto low = static_cast<uint16_t>(arguments.number(1));
  const auto high = static_cast<uint16_t>(arguments.number(2));
  if (arguments.wrong()) return arguments.nothing();
  const core::Result fd = core::socket(family, core::Blocking::no);
  if (fd < 0) return arguments.answer(fd);
  const core::Result set = core::set_local_port_range(fd, low, high);
  if (set < 0) core::close(fd);
  return arguments.answer(set < 0 ? set : fd);
}

Napi::Value set_local_port_range(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto fd = static_cast<int>(arguments.number(0));
  const auto low = static_cast<uint16_t>(arguments.number(1));
  const auto high = static_cast<uint16_t>(arguments.number(2));
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(core::set_local_port_range(fd, low, high));
}

Napi::Value local_port(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto fd = static_cast<int>(arguments.number(0));
  if (arguments.wrong()) return arguments.nothing();
  core::Address local{};
  const core::Result result = core::getsockname(fd, &local);
  return arguments.answer(result < 0 ? result : core::port_of(local));
}

}  // namespace

void export_descriptor(Napi::Env env, Napi::Object exports) {
  exports.Set("socketInRange", Napi::Function::New<socket_in_range>(env, "socketInRange"));
  exports.Set("setLocalPortRange", Napi::Function::New<set_local_port_range>(env, "setLocalPortRange"));
  exports.Set("localPort", Napi::Function::New<local_port>(env, "localPort"));
}

}  // namespace binding
