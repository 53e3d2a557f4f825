// The only file, with the option table, where a platform is told from another.
#include "core/syscall.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#ifdef __linux__
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/epoll.h>
#else
#include <sys/event.h>
#endif

// macOS has no MSG_NOSIGNAL; a socket option made at birth does the same there.
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

namespace core {

namespace {

constexpr size_t kEventsPerWait = 256;

Result set_flag(int fd, int get, int set, int flag) {
  const int flags = fcntl(fd, get);
  if (flags < 0) return -errno;
  return or_errno(fcntl(fd, set, flags | flag));
}

#if !defined(__linux__)
/// Where flags cannot be given at birth they are set right after it; on failure the fd is closed.
Result adopt(Result fd, Blocking blocking) {
  if (fd < 0) return fd;
  Result result = set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC);
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

Result socket(int family, Blocking blocking) {
  const int domain = family == 4 ? AF_INET : AF_INET6;
#ifdef __linux__
  const int type = SOCK_STREAM | SOCK_CLOEXEC | (blocking == Blocking::no ? SOCK_NONBLOCK : 0);
  return or_errno(::socket(domain, type, IPPROTO_TCP));
#else
  return adopt(or_errno(::socket(domain, SOCK_STREAM, IPPROTO_TCP)), blocking);
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

Result begin_connect(int fd, const Address& peer) {
  const Result result = connect(fd, peer);
  return is_in_progress(result) ? 1 : result;
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

Result send(int fd, const void* bytes, size_t length) {
  return or_errno(::send(fd, bytes, length, MSG_NOSIGNAL));
}

Result recv(int fd, void* bytes, size_t length) { return or_errno(::recv(fd, bytes, length, 0)); }

Result close(int fd) { return or_errno(::close(fd)); }

Result reset(int fd) {
  const linger hard = {1, 0};
  const Result result = setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  const Result closed = close(fd);
  return result < 0 ? result : closed;
}

Result set_nonblocking(int fd) { return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK); }

Result set_connect_wait(int fd, int wait_ms) {
  const timeval wait = {wait_ms / 1000, (wait_ms % 1000) * 1000};
  return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
}

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

int64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

bool is_in_progress(Result result) {
  return result == -EINPROGRESS || result == -EALREADY || result == -EINTR;
}

#ifdef __linux__

Result poller_create() { return or_errno(::epoll_create1(EPOLL_CLOEXEC)); }

namespace {
Result control(int poller, int fd, uint32_t events, uint64_t token) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  const Result added = or_errno(::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event));
  if (added != -EEXIST) return added;
  return or_errno(::epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event));
}
}  // namespace

Result poller_watch(int poller, int fd, uint64_t token) {
  return control(poller, fd, EPOLLOUT | EPOLLONESHOT, token);
}

Result poller_watch_readable(int poller, int fd, uint64_t token) {
  return control(poller, fd, EPOLLIN, token);
}

Result poller_unwatch(int poller, int fd) {
  return or_errno(::epoll_ctl(poller, EPOLL_CTL_DEL, fd, nullptr));
}

Result poller_wait(int poller, std::vector<uint64_t>* tokens) {
  epoll_event events[kEventsPerWait];
  const Result count = or_errno(::epoll_wait(poller, events, kEventsPerWait, -1));
  for (int i = 0; i < count; i++) tokens->push_back(events[i].data.u64);
  return count;
}

Result pipe(int ends[2]) { return or_errno(::pipe2(ends, O_NONBLOCK | O_CLOEXEC)); }

static_assert(sizeof(FilterStep) == sizeof(sock_filter));
static_assert(filter::kLoadWord == (BPF_LD | BPF_W | BPF_ABS));
static_assert(filter::kLoadHalf == (BPF_LD | BPF_H | BPF_ABS));
static_assert(filter::kLoadByte == (BPF_LD | BPF_B | BPF_ABS));
static_assert(filter::kLoadWordPast == (BPF_LD | BPF_W | BPF_IND));
static_assert(filter::kLoadHeaderLength == (BPF_LDX | BPF_B | BPF_MSH));
static_assert(filter::kEquals == (BPF_JMP | BPF_JEQ | BPF_K));
static_assert(filter::kAnyBit == (BPF_JMP | BPF_JSET | BPF_K));
static_assert(filter::kReturn == (BPF_RET | BPF_K));
static_assert(filter::kDirection == static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE));
static_assert(filter::kOutgoing == PACKET_OUTGOING);

Result packet_socket() {
  // Protocol 0 receives nothing, so that no packet slips in before the filter is there.
  return or_errno(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

Result packet_filter(int fd, const FilterStep* steps, size_t count) {
  sock_filter program[BPF_MAXINSNS];
  if (count > BPF_MAXINSNS) return -EINVAL;
  std::memcpy(program, steps, count * sizeof *steps);
  const sock_fprog filter = {static_cast<unsigned short>(count), program};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

Result packet_buffer(int fd, int bytes) {
  const Result forced = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  return forced == -EPERM ? setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) : forced;
}

Result packet_bind(int fd, int interface_index) {
  const int on = 1;
  const Result stamped = setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  if (stamped < 0) return stamped;
  sockaddr_ll link{};
  link.sll_family = AF_PACKET;
  link.sll_protocol = htons(ETH_P_ALL);
  link.sll_ifindex = interface_index;
  return or_errno(::bind(fd, reinterpret_cast<sockaddr*>(&link), sizeof link));
}

Result packet_receive(int fd, void* bytes, size_t length, PacketFacts* facts) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(timespec))];
  iovec room = {bytes, length};
  msghdr message{};
  message.msg_iov = &room;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_TRUNC);
  if (size < 0) return -errno;
  *facts = {0, std::min(static_cast<uint64_t>(size), static_cast<uint64_t>(length)),
            static_cast<uint64_t>(size)};
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec stamp;
    std::memcpy(&stamp, CMSG_DATA(part), sizeof stamp);
    facts->stamp_ns = static_cast<uint64_t>(stamp.tv_sec) * 1'000'000'000 + stamp.tv_nsec;
  }
  return 0;
}

Result packet_statistics(int fd, uint32_t* passed, uint32_t* dropped) {
  tpacket_stats counted{};
  const Result result = getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &counted, sizeof counted);
  if (result < 0) return result;
  *passed = counted.tp_packets;
  *dropped = counted.tp_drops;
  return 0;
}

#else

Result packet_socket() { return -ENOSYS; }
Result packet_filter(int, const FilterStep*, size_t) { return -ENOSYS; }
Result packet_buffer(int, int) { return -ENOSYS; }
Result packet_bind(int, int) { return -ENOSYS; }
Result packet_receive(int, void*, size_t, PacketFacts*) { return -ENOSYS; }
Result packet_statistics(int, uint32_t*, uint32_t*) { return -ENOSYS; }

Result poller_create() { return or_errno(::kqueue()); }

namespace {
Result control(int poller, int fd, int16_t filter, uint16_t flags, uint64_t token) {
  struct kevent change;
  EV_SET(&change, fd, filter, flags, 0, 0, reinterpret_cast<void*>(token));
  return or_errno(::kevent(poller, &change, 1, nullptr, 0, nullptr));
}
}  // namespace

Result poller_watch(int poller, int fd, uint64_t token) {
  return control(poller, fd, EVFILT_WRITE, EV_ADD | EV_ONESHOT, token);
}

Result poller_watch_readable(int poller, int fd, uint64_t token) {
  return control(poller, fd, EVFILT_READ, EV_ADD, token);
}

Result poller_unwatch(int poller, int fd) {
  const Result result = control(poller, fd, EVFILT_WRITE, EV_DELETE, 0);
  return result == -ENOENT ? 0 : result;  // A one-shot event that has fired is gone already.
}

Result poller_wait(int poller, std::vector<uint64_t>* tokens) {
  struct kevent events[kEventsPerWait];
  const Result count =
      or_errno(::kevent(poller, nullptr, 0, events, static_cast<int>(kEventsPerWait), nullptr));
  for (int i = 0; i < count; i++) tokens->push_back(reinterpret_cast<uint64_t>(events[i].udata));
  return count;
}

Result pipe(int ends[2]) {
  if (::pipe(ends) < 0) return -errno;
  for (int end = 0; end < 2; end++) {
    set_flag(ends[end], F_GETFD, F_SETFD, FD_CLOEXEC);
    set_nonblocking(ends[end]);
  }
  return 0;
}

#endif

Result wake(int write_end) {
  const char byte = 0;
  const Result written = or_errno(::write(write_end, &byte, 1));
  return written == -EAGAIN ? 0 : written;
}

}  // namespace core
