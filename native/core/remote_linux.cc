// pidfd_open(2), pidfd_getfd(2).
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "core/remote.h"
#include "core/syscall.h"

namespace core {

namespace {

// The C library of older distributions declares neither the calls nor their numbers, which all architectures
// but alpha share.
constexpr long kPidfdOpen = 434;
constexpr long kPidfdGetfd = 438;

/// A duplicate of another process's descriptor, which shares its open file: its flags must not be changed.
class Duplicate {
 public:
  Duplicate(int pid, int fd) {
    const Result process = or_errno(::syscall(kPidfdOpen, pid, 0));
    fd_ = process < 0 ? process : or_errno(::syscall(kPidfdGetfd, process, fd, 0));
    if (process >= 0) close(process);
  }
  ~Duplicate() {
    if (fd_ >= 0) close(fd_);
  }
  Duplicate(const Duplicate&) = delete;
  Duplicate& operator=(const Duplicate&) = delete;

  /// The duplicate, or -errno.
  Result fd() const { return fd_; }

 private:
  Result fd_;
};

/// Whether this is the socket with the cookie, and joined to itself: 0, or -ESTALE.
Result check_joined(int fd, const uint32_t cookie[2]) {
  uint32_t own[2] = {};
  const Result read = getsockopt(fd, SOL_SOCKET, SO_COOKIE, own, sizeof own);
  if (read < 0) return read;
  Address local{};
  Address peer{};
  const bool is_same = std::memcmp(own, cookie, sizeof own) == 0 && getsockname(fd, &local) >= 0 &&
                       getpeername(fd, &peer) >= 0 && std::memcmp(&local, &peer, sizeof local) == 0;
  return is_same ? 0 : -ESTALE;
}

}  // namespace

Result local_name_of(int pid, int fd, Address* local) {
  const Duplicate duplicate(pid, fd);
  if (duplicate.fd() < 0) return duplicate.fd();
  const Result tcp = check_tcp(duplicate.fd());
  return tcp < 0 ? tcp : getsockname(duplicate.fd(), local);
}

Result disconnect_joined(int pid, int fd, const uint32_t cookie[2]) {
  const Duplicate duplicate(pid, fd);
  if (duplicate.fd() < 0) return duplicate.fd();
  const Result joined = check_joined(duplicate.fd(), cookie);
  if (joined < 0) return joined;
  sockaddr nowhere{};
  nowhere.sa_family = AF_UNSPEC;
  return or_errno(::connect(duplicate.fd(), &nowhere, sizeof nowhere));
}

}  // namespace core
