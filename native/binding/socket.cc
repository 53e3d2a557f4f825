#include <napi.h>

#include "binding/value.h"
#include "core/checked.h"
#include "core/host.h"
#include "core/joined.h"
#include "core/syscall.h"

namespace binding {

namespace {

/// Returns an empty handle; every other call returns an integer.
Napi::Value handle(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  const auto finalize = [](Napi::Env, Socket* socket) { Environment::forget(socket); };
  Socket* socket = environment.create_socket();
  const auto external = Napi::External<Socket>::New(info.Env(), socket, finalize);
  if (external.IsEmpty()) {
    // A worker that is being terminated cannot create objects, and any use of an empty one aborts the
    // process.
    Environment::forget(socket);
    return info.Env().Undefined();
  }
  external.TypeTag(&kSocketTag);
  return external;
}

core::Result socket(Arguments& arguments) {
  Socket* socket = arguments.read_socket(0);
  const int family = arguments.read_family(1);
  const core::Protocol protocol{arguments.read_flag(2)};
  if (arguments.is_refused()) return 0;
  if (!socket->is_empty()) return -EALREADY;
  return socket->fill(core::socket(family, core::Blocking::no, protocol));
}

core::Result datagram_socket(Arguments& arguments) {
  Socket* socket = arguments.read_socket(0);
  const int family = arguments.read_family(1);
  if (arguments.is_refused()) return 0;
  if (!socket->is_empty()) return -EALREADY;
  return socket->fill(core::datagram_socket(family));
}

/// sourceAddress(socket, peer, source): connect(2) of a UDP socket, which sends nothing, then getsockname(2).
core::Result source_address(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const core::Address peer = arguments.read_address(1);
  const auto memory = arguments.read_memory_for<core::Address>(2, "memory for an address of 24 bytes");
  if (arguments.is_refused()) return 0;
  core::Address source{};
  const core::Result result = core::source_address(fd, peer, &source);
  if (result >= 0) std::memcpy(memory.data(), &source, sizeof source);
  return result;
}

core::Result accept(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  Socket* accepted = arguments.read_socket(1);
  if (arguments.is_refused()) return 0;
  if (!accepted->is_empty()) return -EALREADY;
  return accepted->fill(core::accept(fd));
}

core::Result return_fd(int fd) { return fd; }

template <core::Result (*Call)(int)>
core::Result with_fd(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  return arguments.is_refused() ? 0 : Call(fd);
}

template <core::Result (*Call)(int, const core::Address&)>
core::Result with_address(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const core::Address address = arguments.read_address(1);
  return arguments.is_refused() ? 0 : Call(fd, address);
}

template <core::Result (*Call)(int, core::Address*)>
core::Result read_address_of(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const auto memory = arguments.read_memory_for<core::Address>(1, "memory for an address of 24 bytes");
  if (arguments.is_refused()) return 0;
  core::Address address{};
  const core::Result result = Call(fd, &address);
  if (result >= 0) std::memcpy(memory.data(), &address, sizeof address);
  return result;
}

core::Result listen(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const int backlog = arguments.read_int(1);
  return arguments.is_refused() ? 0 : core::listen(fd, backlog);
}

core::Result shutdown(Arguments& arguments) {
  static constexpr const char* kWords[] = {"read", "write", "both"};
  static constexpr core::How kHow[] = {core::How::read, core::How::write, core::How::both};
  const int fd = arguments.read_fd(0);
  const size_t how = arguments.read_choice(1, kWords, "\"read\", \"write\" or \"both\"");
  return arguments.is_refused() ? 0 : core::shutdown(fd, kHow[how]);
}

/// Empties the handle and calls `End` with its fd; does nothing to an empty handle.
template <core::Result (*End)(int)>
core::Result end(Arguments& arguments) {
  Socket* socket = arguments.read_socket(0);
  if (arguments.is_refused() || socket->is_empty()) return 0;
  // This result is ignored, because it would hide the result of `End`. The watch ends with the fd at the
  // latest.
  static_cast<void>(arguments.environment().unwatch(socket));
  return End(socket->take());
}

core::Result if_nametoindex(Arguments& arguments) {
  const std::string name = arguments.read_text(0, "the name of an interface");
  return arguments.is_refused() ? 0 : core::if_nametoindex(name.c_str());
}

core::Result if_indextoname(Arguments& arguments) {
  const uint32_t index = arguments.read_count(0);
  const auto name = arguments.read_array<uint8_t>(1, napi_uint8_array, "memory for a name");
  if (arguments.is_refused()) return 0;
  return core::if_indextoname(index, reinterpret_cast<char*>(name.data()), name.size());
}

core::Result leaks(Arguments& arguments) { return arguments.environment().leaks; }

}  // namespace

void export_socket(Napi::Env env, Napi::Object exports) {
  exports.Set("handle", Napi::Function::New<handle>(env, "handle"));
  export_call<with_fd<return_fd>>(exports, "fd");
  export_call<socket>(exports, "socket");
  export_call<datagram_socket>(exports, "datagramSocket");
  export_call<source_address>(exports, "sourceAddress");
  export_call<with_address<core::bind>>(exports, "bind");
  export_call<with_address<core::begin_connect>>(exports, "connect");
  export_call<listen>(exports, "listen");
  export_call<accept>(exports, "accept");
  export_call<read_address_of<core::getsockname>>(exports, "getsockname");
  export_call<read_address_of<core::getpeername>>(exports, "getpeername");
  export_call<with_fd<core::is_joined>>(exports, "isJoined");
  export_call<with_fd<core::connect_progress>>(exports, "connectProgress");
  export_call<with_fd<core::take_error>>(exports, "takeError");
  export_call<shutdown>(exports, "shutdown");
  export_call<with_fd<core::reset_at_close_if_joined>>(exports, "resetAtCloseIfJoined");
  export_call<end<core::close>>(exports, "close");
  export_call<end<core::close_checked>>(exports, "closeChecked");
  export_call<end<core::reset>>(exports, "reset");
  export_call<end<return_fd>>(exports, "release");
  export_call<if_nametoindex>(exports, "ifNameToIndex");
  export_call<if_indextoname>(exports, "ifIndexToName");
  export_call<leaks>(exports, "leaks");
}

}  // namespace binding
