#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "core/packet.h"
#include "core/syscall.h"

namespace core {

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
  // With protocol 0 the socket receives nothing, so that no packet arrives before the filter is attached.
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

Result packet_stamps(int fd) {
  const int on = 1;
  return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
}

Result packet_bind(int fd, int interface_index) {
  sockaddr_ll link{};
  link.sll_family = AF_PACKET;
  link.sll_protocol = htons(ETH_P_ALL);
  link.sll_ifindex = interface_index;
  return or_errno(::bind(fd, reinterpret_cast<sockaddr*>(&link), sizeof link));
}

Result packet_receive(int fd, void* bytes, size_t length, PacketFacts* facts) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(timespec))];
  iovec memory = {bytes, length};
  msghdr message{};
  message.msg_iov = &memory;
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
    facts->stamp_ns = static_cast<uint64_t>(nanoseconds_of(stamp));
  }
  return 0;
}

Result packet_statistics(int fd, uint32_t* passed, uint32_t* dropped) {
  tpacket_stats statistics{};
  const Result result = getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, sizeof statistics);
  if (result < 0) return result;
  *passed = statistics.tp_packets;
  *dropped = statistics.tp_drops;
  return 0;
}

}  // namespace core
