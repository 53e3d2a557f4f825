#include <napi.h>

#include <utility>

#include "binding/value.h"
#include "core/syscall.h"

namespace binding {

namespace {

Napi::Value handle(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  const auto finalize = [](Napi::Env, Socket* socket) { Environment::forget(socket); };
  Socket* socket = environment.open();
  const auto external = Napi::External<Socket>::New(info.Env(), socket, finalize);
  if (external.IsEmpty()) {
    // A worker that is being terminated makes no more objects, and to ask anything of an empty one is fatal.
    Environment::forget(socket);
    return info.Env().Undefined();
  }
  external.TypeTag(&kSocketTag);
  return external;
}

/// Puts a new fd into an empty handle.
core::Result keep(Socket* socket, core::Result fd) {
  if (fd < 0) return fd;
  socket->fd = fd;
  return 0;
}

Napi::Value socket(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  Socket* socket = arguments.socket(0);
  const auto family = static_cast<int>(arguments.number(1));
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(keep(socket, core::socket(family, core::Blocking::no)));
}

Napi::Value accept(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  Socket* accepted = arguments.socket(1);
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(keep(accepted, core::accept(fd)));
}

Napi::Value fd(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(fd);
}

template <core::Result (*Call)(int, const core::Address&)>
Napi::Value with_address(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  const core::Address address = arguments.address(1);
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(Call(fd, address));
}

template <core::Result (*Call)(int, core::Address*)>
Napi::Value into_address(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  core::Address* address = arguments.address_out(1);
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(Call(fd, address));
}

Napi::Value listen(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  const auto backlog = static_cast<int>(arguments.number(1));
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(core::listen(fd, backlog));
}

Napi::Value take_error(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(core::take_error(fd));
}

Napi::Value shutdown(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  const std::string how = arguments.text(1);
  if (arguments.wrong()) return arguments.nothing();
  const core::How direction = how == "read"    ? core::How::read
                              : how == "write" ? core::How::write
                                               : core::How::both;
  return arguments.answer(core::shutdown(fd, direction));
}

Napi::Value send(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  const auto bytes = arguments.array<uint8_t>(1, napi_uint8_array, "bytes");
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(core::send(fd, bytes.data(), bytes.size()));
}

Napi::Value recv(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  const auto bytes = arguments.array<uint8_t>(1, napi_uint8_array, "room for bytes");
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(core::recv(fd, bytes.data(), bytes.size()));
}

/// Empties the handle and does with its fd what `End` says; an empty handle is left as it is.
template <core::Result (*End)(int)>
Napi::Value end(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  Socket* socket = arguments.socket(0);
  if (arguments.wrong()) return arguments.nothing();
  if (socket->fd < 0) return arguments.answer(0);
  arguments.environment().unwatch(socket);
  return arguments.answer(End(std::exchange(socket->fd, -1)));
}

core::Result give_away(int fd) { return fd; }

Napi::Value if_nametoindex(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string name = arguments.text(0);
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(core::if_nametoindex(name.c_str()));
}

Napi::Value if_indextoname(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto index = static_cast<uint32_t>(arguments.number(0));
  const auto name = arguments.array<uint8_t>(1, napi_uint8_array, "room for a name");
  if (arguments.wrong()) return arguments.nothing();
  auto* out = reinterpret_cast<char*>(name.data());
  return arguments.answer(core::if_indextoname(index, out, name.size()));
}

Napi::Value leaks(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), Environment::of(info.Env()).leaks);
}

}  // namespace

void export_socket(Napi::Env env, Napi::Object exports) {
  const auto function = [&](const char* name, Napi::Value (*call)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, call, name));
  };
  function("handle", handle);
  function("fd", fd);
  function("socket", socket);
  function("bind", with_address<core::bind>);
  function("connect", with_address<core::begin_connect>);
  function("listen", listen);
  function("accept", accept);
  function("getsockname", into_address<core::getsockname>);
  function("getpeername", into_address<core::getpeername>);
  function("takeError", take_error);
  function("shutdown", shutdown);
  function("send", send);
  function("recv", recv);
  function("close", end<core::close>);
  function("reset", end<core::reset>);
  function("release", end<give_away>);
  function("ifNameToIndex", if_nametoindex);
  function("ifIndexToName", if_indextoname);
  function("leaks", leaks);
}

}  // namespace binding
