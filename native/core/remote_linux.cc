// pidfd_open(2), pidfd_getfd(2).
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "core/remote.h"
#include "core/syscall.h"

namespace core {

namespace {

constexpr int kProtocolMptcp = 262;
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

bool has_identity(int fd, const RemoteIdentity& identity) {
  struct stat status {};
  if (::fstat(fd, &status) < 0 || static_cast<uint32_t>(status.st_ino) != identity.inode) return false;
  if (identity.cookie[0] == 0 && identity.cookie[1] == 0) return true;
  // The table has the cookie of a subflow; the descriptor is the Multipath TCP socket above it, which has the
  // same inode and a cookie of its own.
  int protocol = 0;
  const Result asked = getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, sizeof protocol);
  if (asked >= 0 && protocol == kProtocolMptcp) return true;
  uint32_t cookie[2] = {};
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, sizeof cookie) >= 0 &&
         std::memcmp(cookie, identity.cookie, sizeof cookie) == 0;
}

bool is_joined(int fd) {
  Address local{};
  Address peer{};
  return getsockname(fd, &local) >= 0 && getpeername(fd, &peer) >= 0 &&
         std::memcmp(&local, &peer, sizeof local) == 0;
}

}  // namespace

Result local_name_of(int pid, int fd, Address* local) {
  const Duplicate duplicate(pid, fd);
  if (duplicate.fd() < 0) return duplicate.fd();
  const Result tcp = check_tcp(duplicate.fd());
  return tcp < 0 ? tcp : getsockname(duplicate.fd(), local);
}

Result disconnect_joined(int pid, int fd, const RemoteIdentity& identity) {
  const Duplicate duplicate(pid, fd);
  if (duplicate.fd() < 0) return duplicate.fd();
  if (!has_identity(duplicate.fd(), identity) || is_joined(duplicate.fd()) <= 0) return -ESTALE;
  return disconnect(duplicate.fd());
}

}  // namespace core
