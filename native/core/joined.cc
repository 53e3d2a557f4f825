#include "core/joined.h"

#include <cerrno>
#include <cstring>

#include "core/syscall.h"

namespace core {

Result named_progress(int fd) {
  const Result error = take_error(fd);
  if (error != 0) return error < 0 ? error : -error;
  Address peer;
  const Result named = getpeername(fd, &peer);
  return named == -ENOTCONN ? kInProgress : named;
}

Result has_own_name(int fd, Address* local) {
  const Result named = getsockname(fd, local);
  if (named < 0) return named;
  Address peer;
  const Result peered = getpeername(fd, &peer);
  if (peered < 0) return peered;
  return std::memcmp(local, &peer, sizeof peer) == 0 ? 1 : 0;
}

}  // namespace core
