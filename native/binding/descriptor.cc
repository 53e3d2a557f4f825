#include <napi.h>

#include "binding/value.h"
#include "core/checked.h"
#include "core/joined.h"
#include "core/option.h"
#include "core/syscall.h"

namespace binding {

namespace {

/// The calls of this file use raw fds, not handles, because guarded net.connect is sensitive to microseconds.
/// libuv owns the fd.
core::Result socket_in_range(Arguments& arguments) {
  const int family = arguments.read_family(0);
  const uint16_t low = arguments.read_port(1);
  const uint16_t high = arguments.read_port(2);
  if (arguments.is_refused()) return 0;
  const core::Result fd = core::socket(family, core::Blocking::no);
  if (fd < 0) return fd;
  const core::Result set = core::set_local_port_range(fd, low, high);
  if (set < 0) core::close(fd);
  return set < 0 ? set : fd;
}

core::Result set_local_port_range(Arguments& arguments) {
  const int fd = arguments.read_int(0);
  const uint16_t low = arguments.read_port(1);
  const uint16_t high = arguments.read_port(2);
  return arguments.is_refused() ? 0 : core::set_local_port_range(fd, low, high);
}

core::Result is_joined_of(Arguments& arguments) {
  const int fd = arguments.read_int(0);
  return arguments.is_refused() ? 0 : core::is_joined(fd);
}

core::Result end_joined_of(Arguments& arguments) {
  const int fd = arguments.read_int(0);
  return arguments.is_refused() ? 0 : core::end_joined(fd);
}

core::Result local_port(Arguments& arguments) {
  const int fd = arguments.read_int(0);
  if (arguments.is_refused()) return 0;
  core::Address local{};
  const core::Result result = core::getsockname(fd, &local);
  return result < 0 ? result : core::port_of(local);
}

}  // namespace

void export_descriptor(Napi::Object exports) {
  export_call<socket_in_range>(exports, "socketInRange");
  export_call<set_local_port_range>(exports, "setLocalPortRange");
  export_call<is_joined_of>(exports, "isJoinedOf");
  export_call<end_joined_of>(exports, "endJoinedOf");
  export_call<local_port>(exports, "localPort");
}

}  // namespace binding
