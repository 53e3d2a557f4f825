#include "core/joined.h"

#include <cstring>

#include "core/syscall.h"

namespace core {

Result is_joined(int fd) {
  Address local;
  Address peer;
  const Result named = getsockname(fd, &local);
  if (named < 0) return named;
  const Result peered = getpeername(fd, &peer);
  if (peered == 0 && std::memcmp(&local, &peer, sizeof local) == 0) return 1;
  const Result joined = is_joined_in_kernel(fd, local);
  return joined == -ENOSYS ? peered : joined;
}

}  // namespace core
