// Platforms differ in how a new descriptor gets its flags. Larger differences have separate files: see
// sources.txt.
#include "core/syscall.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <ctime>
#include <iterator>
#include <utility>

// macOS has no MSG_NOSIGNAL; adopt() sets SO_NOSIGPIPE there instead.
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

// Linux 5.6; kernel ABI, and newer than the headers of some distributions.
#if defined(__linux__) && !defined(IPPROTO_MPTCP)
#define IPPROTO_MPTCP 262
#endif

namespace core {

namespace {

Result set_flag(int fd, int get, int set, int flag) {
  const int flags = fcntl(fd, get);
  if (flags < 0) return -errno;
  return or_errno(fcntl(fd, set, flags | flag));
}

#if !defined(__linux__)
/// Sets the flags of a new fd on platforms that cannot create it with them. Closes the fd on failure.
Result adopt(Result fd, Blocking blocking) {
  if (fd < 0) return fd;
  Result result = set_close_on_exec(fd);
  if (result >= 0 && blocking == Blocking::no) result = set_nonblocking(fd);
#ifdef SO_NOSIGPIPE
  const int on = 1;
  if (result >= 0) result = setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
  if (result >= 0) return fd;
  ::close(fd);
  return result;
}
#endif

}  // namespace

Result socket(int family, Blocking blocking, Protocol protocol) {
  const int domain = family == 4 ? AF_INET : AF_INET6;
#ifdef __linux__
  const int type = SOCK_STREAM | SOCK_CLOEXEC | (blocking == Blocking::no ? SOCK_NONBLOCK : 0);
  return or_errno(::socket(domain, type, protocol == Protocol::mptcp ? IPPROTO_MPTCP : IPPROTO_TCP));
#else
  if (protocol == Protocol::mptcp) return -EPROTONOSUPPORT;
  return adopt(or_errno(::socket(domain, SOCK_STREAM, IPPROTO_TCP)), blocking);
#endif
}

Result datagram_socket(int family) {
  const int domain = family == 4 ? AF_INET : AF_INET6;
#ifdef __linux__
  return or_errno(::socket(domain, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
#else
  return adopt(or_errno(::socket(domain, SOCK_DGRAM, 0)), Blocking::no);
#endif
}

Result check_tcp(int fd) {
  int type = 0;
  const Result typed = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, sizeof type);
  if (typed < 0) return typed;
  sockaddr_storage local{};
  socklen_t length = sizeof local;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) < 0) return -errno;
  const bool is_internet = local.ss_family == AF_INET || local.ss_family == AF_INET6;
  if (type != SOCK_STREAM || !is_internet) return -EPROTONOSUPPORT;
#ifdef SO_PROTOCOL
  // SCTP has streams of the same families and type. MPTCP's options and states are TCP's.
  constexpr int kMptcp = 262;
  int protocol = 0;
  const Result asked = getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, sizeof protocol);
  if (asked < 0) return asked;
  if (protocol != IPPROTO_TCP && protocol != kMptcp) return -EPROTONOSUPPORT;
#endif
  return 0;
}

Result enter_network_namespace([[maybe_unused]] int fd) {
#ifdef __linux__
  return or_errno(::setns(fd, CLONE_NEWNET));
#else
  return -ENOSYS;
#endif
}

Result bind(int fd, const Address& local) {
  sockaddr_storage storage;
  const socklen_t length = to_sockaddr(local, &storage);
  return or_errno(::bind(fd, reinterpret_cast<sockaddr*>(&storage), length));
}

Result connect(int fd, const Address& peer) {
  sockaddr_storage storage;
  const socklen_t length = to_sockaddr(peer, &storage);
  return or_errno(::connect(fd, reinterpret_cast<sockaddr*>(&storage), length));
}

Result disconnect(int fd) {
  sockaddr nowhere{};
  nowhere.sa_family = AF_UNSPEC;
  return or_errno(::connect(fd, &nowhere, sizeof nowhere));
}

Result begin_connect(int fd, const Address& peer) {
  const Result result = connect(fd, peer);
  return is_in_progress(result) ? kInProgress : result;
}

Result listen(int fd, int backlog) { return or_errno(::listen(fd, backlog)); }

Result accept(int fd) {
#ifdef __linux__
  return or_errno(::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
#else
  return adopt(or_errno(::accept(fd, nullptr, nullptr)), Blocking::no);
#endif
}

Result getsockname(int fd, Address* out) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) < 0) return -errno;
  return from_sockaddr(storage, out) ? 0 : -EAFNOSUPPORT;
}

Result getpeername(int fd, Address* out) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) < 0) return -errno;
  return from_sockaddr(storage, out) ? 0 : -EAFNOSUPPORT;
}

Result getsockopt(int fd, int level, int number, void* value, size_t length) {
  auto size = static_cast<socklen_t>(length);
  if (::getsockopt(fd, level, number, value, &size) < 0) return -errno;
  return static_cast<Result>(size);
}

Result setsockopt(int fd, int level, int number, const void* value, size_t length) {
  return or_errno(::setsockopt(fd, level, number, value, static_cast<socklen_t>(length)));
}

Result take_error(int fd) {
  int error = 0;
  const Result result = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, sizeof error);
  return result < 0 ? result : error;
}

Result shutdown(int fd, How how) {
  const int direction = how == How::read ? SHUT_RD : how == How::write ? SHUT_WR : SHUT_RDWR;
  return or_errno(::shutdown(fd, direction));
}

Result send(int fd, const void* bytes, size_t length, Transfer flags) {
  return or_errno(::send(fd, bytes, length, MSG_NOSIGNAL | (flags.urgent ? MSG_OOB : 0)));
}

Result sendmsg(int fd, std::span<const std::span<const uint8_t>> buffers, std::span<uint8_t> control) {
  iovec vectors[IOV_MAX];
  const size_t count = std::min(buffers.size(), std::size(vectors));
  for (size_t i = 0; i < count; i++) {
    // The kernel only reads them; iovec is shared with recvmsg(2) and has no const.
    vectors[i] = {const_cast<uint8_t*>(buffers[i].data()), buffers[i].size()};
  }
  msghdr message{};
  message.msg_iov = vectors;
  message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
  message.msg_control = control.empty() ? nullptr : control.data();
  message.msg_controllen = static_cast<decltype(message.msg_controllen)>(control.size());
  return or_errno(::sendmsg(fd, &message, MSG_NOSIGNAL));
}

Result recv(int fd, void* bytes, size_t length, Transfer flags) {
  return or_errno(::recv(fd, bytes, length, (flags.peek ? MSG_PEEK : 0) | (flags.urgent ? MSG_OOB : 0)));
}

Result poll(int fd, Directions directions) {
  pollfd asked{};
  asked.fd = fd;
  if (directions.read) asked.events |= POLLIN;
  if (directions.write) asked.events |= POLLOUT;
  const Result result = or_errno(::poll(&asked, 1, 0));
  return result > 0 && (asked.revents & POLLNVAL) != 0 ? -EBADF : result;
}

Result close(int fd) { return or_errno(::close(fd)); }

Result set_reset_at_close(int fd) {
  const linger abort_at_close = {1, 0};
  return setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_at_close, sizeof abort_at_close);
}

Result reset(int fd) {
  const Result result = set_reset_at_close(fd);
  const Result close_result = close(fd);
  return result < 0 ? result : close_result;
}

Result set_close_on_exec(int fd) { return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC); }

Result set_nonblocking(int fd) { return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK); }

Result if_nametoindex(const char* name) {
  const unsigned index = ::if_nametoindex(name);
  return index == 0 ? -errno : static_cast<Result>(index);
}

Result if_indextoname(uint32_t index, char* name, size_t length) {
  char found[IF_NAMESIZE];
  if (::if_indextoname(index, found) == nullptr) return -errno;
  const size_t size = strnlen(found, sizeof found);
  if (size > length) return -ENOSPC;
  std::memcpy(name, found, size);
  return static_cast<Result>(size);
}

int64_t nanoseconds_of(const timespec& time) {
  // Unsigned, because an overflow is no undefined behaviour then.
  const auto seconds = static_cast<uint64_t>(time.tv_sec);
  return static_cast<int64_t>(seconds * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec));
}

int64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return nanoseconds_of(now);
}

bool is_in_progress(Result result) {
  return result == -EINPROGRESS || result == -EALREADY || result == -EINTR;
}

Result pipe(int ends[2]) {
#ifdef __linux__
  return or_errno(::pipe2(ends, O_NONBLOCK | O_CLOEXEC));
#else
  if (::pipe(ends) < 0) return -errno;
  Result result = 0;
  for (int end = 0; end < 2 && result >= 0; end++) {
    result = set_close_on_exec(ends[end]);
    if (result >= 0) result = set_nonblocking(ends[end]);
  }
  for (int end = 0; end < 2 && result < 0; end++) ::close(std::exchange(ends[end], -1));
  return result < 0 ? result : 0;
#endif
}

Result wake(int write_end) {
  const char byte = 0;
  const Result written = or_errno(::write(write_end, &byte, 1));
  return written == -EAGAIN ? 0 : written;
}

}  // namespace core
