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

#include "core/diag.h"

#ifdef __linux__
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
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

#ifdef __linux__

namespace {

constexpr size_t kDiagBytes = size_t{256} * 1024;

/// Two conditional jumps, each over a comparison and the port in its operand: low <= local port <= high.
struct PortFilter {
  inet_diag_bc_op at_least, least, at_most, most;
};

PortFilter port_filter(uint16_t low, uint16_t high) {
  constexpr unsigned char kYes = 2 * sizeof(inet_diag_bc_op);
  // A jump past the end, by four bytes, is the kernel's way to say no.
  constexpr auto kNo = static_cast<unsigned short>(sizeof(PortFilter) + sizeof(inet_diag_bc_op));
  return {{INET_DIAG_BC_S_GE, kYes, kNo},
          {0, 0, low},
          {INET_DIAG_BC_S_LE, kYes, static_cast<unsigned short>(kNo - kYes)},
          {0, 0, high}};
}

Address diag_address(int family, const __be32* host, __be16 port, uint32_t interface) {
  Address address{};
  address.family = family == AF_INET ? 4 : 6;
  address.port = port;
  std::memcpy(address.host, host, family == AF_INET ? 4 : 16);
  const bool is_link_local =
      family == AF_INET6 && address.host[0] == 0xfe && (address.host[1] & 0xc0) == 0x80;
  address.scope = is_link_local ? htonl(interface) : 0;
  return address;
}

/// The later of the last data sent and received, out of the TCP_INFO attribute.
uint32_t quiet_ms(const inet_diag_msg* message, size_t length) {
  const auto* bytes = reinterpret_cast<const char*>(message);
  for (size_t at = NLMSG_ALIGN(sizeof *message); at + sizeof(nlattr) <= length;) {
    nlattr attribute;
    std::memcpy(&attribute, bytes + at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || at + attribute.nla_len > length) break;
    if (attribute.nla_type == INET_DIAG_INFO) {
      tcp_info info{};
      const size_t size = attribute.nla_len - sizeof attribute;
      std::memcpy(&info, bytes + at + sizeof attribute, size < sizeof info ? size : sizeof info);
      const uint32_t sent = info.tcpi_last_data_sent;
      const uint32_t received = info.tcpi_last_data_recv;
      return sent < received ? sent : received;
    }
    at += NLMSG_ALIGN(attribute.nla_len);
  }
  return kUntold;
}

DiagRecord diag_record(const inet_diag_msg* message, size_t length) {
  const inet_diag_sockid& id = message->id;
  DiagRecord record{};
  record.local = diag_address(message->idiag_family, id.idiag_src, id.idiag_sport, id.idiag_if);
  record.peer = diag_address(message->idiag_family, id.idiag_dst, id.idiag_dport, id.idiag_if);
  record.state = message->idiag_state;
  record.uid = message->idiag_uid;
  record.inode = message->idiag_inode;
  record.receive_queue_bytes = message->idiag_rqueue;
  record.send_queue_bytes = message->idiag_wqueue;
  record.retransmits = message->idiag_retrans;
  record.expires_ms = message->idiag_expires;
  record.quiet_ms = quiet_ms(message, length);
  return record;
}

}  // namespace

Result diag_socket() { return or_errno(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)); }

Result diag_request(int fd, const DiagFilter& filter) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
    nlattr attribute;
    PortFilter ports;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = filter.family == 4 ? AF_INET : AF_INET6;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = filter.states;
  if (filter.details) message.request.idiag_ext = 1 << (INET_DIAG_INFO - 1);
  message.attribute.nla_type = INET_DIAG_REQ_BYTECODE;
  message.attribute.nla_len = sizeof message.attribute + sizeof message.ports;
  message.ports = port_filter(filter.low, filter.high);
  return or_errno(::send(fd, &message, sizeof message, 0));
}

Result diag_receive(int fd, std::vector<DiagRecord>* records) {
  alignas(nlmsghdr) thread_local char bytes[kDiagBytes];
  long left = ::recv(fd, bytes, sizeof bytes, 0);
  if (left < 0) return errno == EINTR ? 1 : -errno;
  if (left == 0) return -EPROTO;
  for (auto* header = reinterpret_cast<nlmsghdr*>(bytes); NLMSG_OK(header, left);
       header = NLMSG_NEXT(header, left)) {
    if (header->nlmsg_type == NLMSG_DONE) return 0;
    if (header->nlmsg_type == NLMSG_ERROR) return static_cast<nlmsgerr*>(NLMSG_DATA(header))->error;
    if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) continue;
    const auto* message = static_cast<inet_diag_msg*>(NLMSG_DATA(header));
    records->push_back(diag_record(message, header->nlmsg_len - NLMSG_HDRLEN));
  }
  return 1;
}

#else

Result diag_socket() { return -ENOSYS; }
Result diag_request(int, const DiagFilter&) { return -ENOSYS; }
Result diag_receive(int, std::vector<DiagRecord>*) { return -ENOSYS; }

#endif

}  // namespace core
