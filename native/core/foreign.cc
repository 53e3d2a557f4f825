#include "core/foreign.h"

#include <map>
#include <mutex>

#include "core/host.h"
#include "core/syscall.h"

namespace core {

namespace {

/// What is on the way from one thread to another. It outlives both: a worker may end before its message
/// arrives. What nobody claims is closed with the process.
struct Shelf {
  std::mutex mutex;
  std::map<int, int> fds;
  int last = 0;
};

Shelf& shelf() {
  // Never destroyed: threads may still claim while the process runs its destructors.
  static auto* const only = new Shelf;
  return *only;
}

}  // namespace

Result check_inherited(int fd) {
  const Result tcp = check_tcp(fd);
  if (tcp < 0) return tcp;
  const Result cloexec = set_close_on_exec(fd);
  return cloexec < 0 ? cloexec : set_nonblocking(fd);
}

Result socket_in_namespace(int family, int namespace_fd, Protocol protocol) {
  // run_in_namespace() takes a negative fd for the caller's own namespace.
  if (namespace_fd < 0) return -EBADF;
  return run_in_namespace(namespace_fd,
                          [family, protocol] { return socket(family, Blocking::no, protocol); });
}

Result shelve(int fd) {
  Shelf& shared = shelf();
  const std::lock_guard lock(shared.mutex);
  const int ticket = ++shared.last;
  shared.fds.emplace(ticket, fd);
  return ticket;
}

Result claim(int ticket) {
  Shelf& shared = shelf();
  const std::lock_guard lock(shared.mutex);
  const auto found = shared.fds.extract(ticket);
  return found.empty() ? -ENOENT : found.mapped();
}

}  // namespace core
