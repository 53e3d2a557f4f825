#include "core/foreign.h"

#include <napi.h>

#include <cstring>

#include "binding/value.h"
#include "core/checked.h"
#include "core/remote.h"
#include "core/syscall.h"

namespace binding {

namespace {

/// inherit(socket, fd): the handle owns the fd from now on. -EEXIST when another handle owns it already.
core::Result inherit(Arguments& arguments) {
  Socket* socket = arguments.read_socket(0);
  const int fd = arguments.read_int(1);
  if (arguments.is_refused()) return 0;
  if (!socket->is_empty()) return -EALREADY;
  if (arguments.environment().owns(fd)) return -EEXIST;
  const core::Result checked = core::check_inherited(fd);
  return checked < 0 ? checked : socket->fill(fd);
}

core::Result socket_in_namespace(Arguments& arguments) {
  Socket* socket = arguments.read_socket(0);
  const int family = arguments.read_family(1);
  const int fd = arguments.read_int(2);
  const core::Protocol protocol{arguments.read_flag(3)};
  if (arguments.is_refused()) return 0;
  if (!socket->is_empty()) return -EALREADY;
  return socket->fill(core::socket_in_namespace(family, fd, protocol));
}

core::Result shelve(Arguments& arguments) {
  Socket* socket = arguments.read_socket(0);
  if (arguments.is_refused()) return 0;
  if (socket->is_empty()) return -EBADF;
  // Its result would hide the ticket: a watch that cannot be taken back reports to nobody.
  static_cast<void>(arguments.environment().unwatch(socket));
  // Nobody may ever take it, and then the kernel closes it.
  static_cast<void>(core::reset_at_close_if_joined(socket->fd()));
  return core::shelve(socket->take());
}

core::Result claim(Arguments& arguments) {
  Socket* socket = arguments.read_socket(0);
  const int ticket = arguments.read_int(1);
  if (arguments.is_refused()) return 0;
  if (!socket->is_empty()) return -EALREADY;
  return socket->fill(core::claim(ticket));
}

/// checkTcp(fd): 0 when an fd that somebody else owns is a TCP socket.
core::Result check_tcp(Arguments& arguments) {
  const int fd = arguments.read_int(0);
  return arguments.is_refused() ? 0 : core::check_tcp(fd);
}

/// localNameOf(pid, fd, local): getsockname(2) of another process's TCP socket.
core::Result local_name_of(Arguments& arguments) {
  const int pid = arguments.read_int(0);
  const int fd = arguments.read_int(1);
  const auto bytes = arguments.read_memory_for<core::Address>(2, "24 bytes for an address");
  if (arguments.is_refused()) return 0;
  core::Address local{};
  const core::Result result = core::local_name_of(pid, fd, &local);
  if (result >= 0) std::memcpy(bytes.data(), &local, sizeof local);
  return result;
}

/// disconnectJoined(pid, fd, identity): `identity` is the inode and the two words of the cookie.
core::Result disconnect_joined(Arguments& arguments) {
  const int pid = arguments.read_int(0);
  const int fd = arguments.read_int(1);
  const auto words = arguments.read_array<uint32_t>(2, napi_uint32_array, "three words of identity");
  if (words.size() != 3) arguments.refuse(2, "three words of identity");
  if (arguments.is_refused()) return 0;
  return core::disconnect_joined(pid, fd, {words[0], {words[1], words[2]}});
}

}  // namespace

void export_foreign(Napi::Object exports) {
  export_call<inherit>(exports, "inherit");
  export_call<socket_in_namespace>(exports, "socketInNamespace");
  export_call<shelve>(exports, "shelve");
  export_call<claim>(exports, "claim");
  export_call<check_tcp>(exports, "checkTcp");
  export_call<local_name_of>(exports, "localNameOf");
  export_call<disconnect_joined>(exports, "disconnectJoined");
}

}  // namespace binding
