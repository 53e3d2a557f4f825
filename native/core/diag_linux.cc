// An inet_diag client: sock_diag(7), include/uapi/linux/inet_diag.h.
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>

#include "core/diag.h"
#include "core/host.h"
#include "core/syscall.h"

namespace core {

namespace {

/// Larger than a datagram of a dump (32 KiB, netlink_recvmsg in net/netlink/af_netlink.c).
constexpr size_t kDatagramBytes = size_t{64} * 1024;
/// SO_BINDTOIFINDEX: Linux 5.0; kernel ABI, and newer than the headers of some distributions.
constexpr int kBindToIfIndex = 62;
/// include/net/tcp_states.h: glibc's header has them, and does not go together with the kernel's.
constexpr int kEstablished = 1;
constexpr int kCloseWait = 8;
/// After this many dumps during which the table changed, diag gives up.
constexpr int kMostDumps = 8;
/// After this many signals during one recv(2), its caller gets EINTR.
constexpr int kMostInterrupts = 1000;

/// TCP_INFO, and how many bytes of it the kernel has written.
struct TcpInformation {
  tcp_info info;
  size_t length;
};

/// Two comparisons, each with its port in the operation after it: low <= local port <= high.
struct PortFilter {
  inet_diag_bc_op at_least, least, at_most, most;
};

PortFilter port_filter(uint16_t low, uint16_t high) {
  constexpr unsigned char kYes = 2 * sizeof(inet_diag_bc_op);
  // A jump four bytes past the end rejects the socket.
  constexpr auto kNo = static_cast<unsigned short>(sizeof(PortFilter) + sizeof(inet_diag_bc_op));
  return {{INET_DIAG_BC_S_GE, kYes, kNo},
          {0, 0, low},
          {INET_DIAG_BC_S_LE, kYes, static_cast<unsigned short>(kNo - kYes)},
          {0, 0, high}};
}

Address to_address(int family, const __be32* host, __be16 port, uint32_t interface) {
  Address address{};
  address.family = family == AF_INET ? 4 : 6;
  address.port = port;
  std::memcpy(address.host, host, family == AF_INET ? 4 : 16);
  const bool is_link_local =
      family == AF_INET6 && address.host[0] == 0xfe && (address.host[1] & 0xc0) == 0x80;
  address.scope = is_link_local ? htonl(interface) : 0;
  return address;
}

/// The payload of the first attribute of this type; empty without one.
std::span<const char> find_attribute(std::span<const char> attributes, int type) {
  for (size_t at = 0; at + sizeof(nlattr) <= attributes.size();) {
    nlattr attribute;
    std::memcpy(&attribute, attributes.data() + at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || at + attribute.nla_len > attributes.size()) break;
    if ((attribute.nla_type & NLA_TYPE_MASK) == type)
      return attributes.subspan(at + sizeof attribute, attribute.nla_len - sizeof attribute);
    at += NLMSG_ALIGN(attribute.nla_len);
  }
  return {};
}

/// TCP_INFO as far as this kernel has it; nothing when the dump is without.
std::optional<TcpInformation> read_information(std::span<const char> attributes) {
  const auto found = find_attribute(attributes, INET_DIAG_INFO);
  if (found.empty()) return std::nullopt;
  TcpInformation read{{}, found.size()};
  std::memcpy(&read.info, found.data(), std::min(found.size(), sizeof read.info));
  return read;
}

/// Milliseconds since the last data sent or received.
uint32_t quiet_ms(const tcp_info& info) {
  const uint32_t sent = info.tcpi_last_data_sent;
  const uint32_t received = info.tcpi_last_data_recv;
  return sent < received ? sent : received;
}

/// Which end a connection is: the kernel counts the SYN of the end that has sent it among the acknowledged
/// bytes (tcp_snd_una_update), and begins after it in a socket that a listener creates. Unknown while
/// something is not acknowledged, after this end's FIN, which is counted too, and before Linux 4.19.
uint32_t direction(const TcpInformation& read) {
  const tcp_info& info = read.info;
  const bool is_open = info.tcpi_state == kEstablished || info.tcpi_state == kCloseWait;
  const size_t needed = offsetof(tcp_info, tcpi_bytes_retrans) + sizeof info.tcpi_bytes_retrans;
  if (!is_open || info.tcpi_unacked != 0 || read.length < needed) return 0;
  const uint64_t rest = info.tcpi_bytes_acked - (info.tcpi_bytes_sent - info.tcpi_bytes_retrans);
  return rest == 1 ? kTraitOutgoing : rest == 0 ? kTraitAccepted : 0U;
}

uint32_t read_traits(std::span<const char> attributes) {
  const auto v6_only = find_attribute(attributes, INET_DIAG_SKV6ONLY);
  const auto name = find_attribute(find_attribute(attributes, INET_DIAG_ULP_INFO), INET_ULP_INFO_NAME);
  const bool is_v6_only = !v6_only.empty() && v6_only[0] != 0;
  const bool is_multipath = !name.empty() && std::strncmp(name.data(), "mptcp", name.size()) == 0;
  return (is_v6_only ? kTraitV6Only : 0U) | (is_multipath ? kTraitMultipath : 0U);
}

DiagRecord to_record(const inet_diag_msg* message, size_t length) {
  const inet_diag_sockid& id = message->id;
  DiagRecord record{};
  record.local = to_address(message->idiag_family, id.idiag_src, id.idiag_sport, id.idiag_if);
  record.peer = to_address(message->idiag_family, id.idiag_dst, id.idiag_dport, id.idiag_if);
  record.state = message->idiag_state;
  record.uid = message->idiag_uid;
  record.inode = message->idiag_inode;
  record.receive_queue_bytes = message->idiag_rqueue;
  record.send_queue_bytes = message->idiag_wqueue;
  record.retransmits = message->idiag_retrans;
  record.expires_ms = message->idiag_expires;
  record.interface = id.idiag_if;
  std::memcpy(record.cookie, id.idiag_cookie, sizeof record.cookie);
  const size_t after = NLMSG_ALIGN(sizeof *message);
  const auto* bytes = reinterpret_cast<const char*>(message);
  const std::span attributes(bytes + (after < length ? after : length), after < length ? length - after : 0);
  const auto information = read_information(attributes);
  record.quiet_ms = information ? quiet_ms(information->info) : kUnreported;
  record.traits = read_traits(attributes) | (information ? direction(*information) : 0U);
  return record;
}

bool is_joined(const DiagRecord& record) {
  return std::memcmp(&record.local, &record.peer, sizeof record.local) == 0;
}

/// send(2): requests the TCP sockets that match the filter.
Result send_request(int fd, const DiagFilter& filter) {
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
  return send(fd, &message, sizeof message);
}

/// Reads the int at the start of NLMSG_DONE and NLMSG_ERROR: 0, or -errno when the dump failed. Linux reports
/// a failed dump in NLMSG_DONE (netlink_dump_done): -ENOENT when it cannot load tcp_diag.
Result read_errno(const nlmsghdr* header) {
  int error = 0;
  if (header->nlmsg_len < NLMSG_LENGTH(sizeof error)) return 0;
  std::memcpy(&error, NLMSG_DATA(header), sizeof error);
  return error < 0 ? error : 0;
}

/// socket(2): a netlink socket reports the sockets of the network namespace in which it was opened.
Result open_diag(int namespace_fd) {
  const auto open = [] { return or_errno(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)); };
  return run_in_namespace(namespace_fd, open);
}

void copy_address(const Address& address, __be32* host, __be16* port) {
  std::memcpy(host, address.host, address.family == 4 ? 4 : 16);
  *port = address.port;
}

inet_diag_sockid id_of(const Address& local, const Address& peer, uint32_t interface, const void* cookie) {
  inet_diag_sockid id{};
  copy_address(local, id.idiag_src, &id.idiag_sport);
  copy_address(peer, id.idiag_dst, &id.idiag_dport);
  id.idiag_if = interface;
  std::memcpy(id.idiag_cookie, cookie, sizeof id.idiag_cookie);
  return id;
}

/// send(2): a request about the one socket of this id.
Result send_request(int fd, uint16_t type, uint16_t flags, int family, const inet_diag_sockid& id) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = type;
  message.header.nlmsg_flags = NLM_F_REQUEST | flags;
  message.request.sdiag_family = family == 4 ? AF_INET : AF_INET6;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = UINT32_MAX;
  message.request.id = id;
  return send(fd, &message, sizeof message);
}

/// recv(2) of one datagram, again while a signal interrupts it. Returns its length, also of one that is
/// longer than the memory.
Result receive_datagram(int fd, void* bytes, size_t length) {
  Result size = -EINTR;
  for (int tries = 0; tries < kMostInterrupts && size == -EINTR; tries++) {
    size = or_errno(::recv(fd, bytes, length, MSG_TRUNC));
  }
  return size > static_cast<Result>(length) ? -EMSGSIZE : size;
}

/// recv(2): the errno of the request, or 0.
Result receive_acknowledgement(int fd) {
  alignas(nlmsghdr) char bytes[kDatagramBytes];
  const Result size = receive_datagram(fd, bytes, sizeof bytes);
  if (size < 0) return size;
  const auto* header = reinterpret_cast<nlmsghdr*>(bytes);
  const bool is_reply = NLMSG_OK(header, static_cast<unsigned>(size)) && header->nlmsg_type == NLMSG_ERROR;
  return is_reply ? read_errno(header) : -EPROTO;
}

/// NLMSG_NEXT, for a last message without its padding too: the macro would go below 0.
const nlmsghdr* next_message(const nlmsghdr* header, unsigned* left) {
  const unsigned length = std::min<unsigned>(NLMSG_ALIGN(header->nlmsg_len), *left);
  *left -= length;
  return reinterpret_cast<const nlmsghdr*>(reinterpret_cast<const char*>(header) + length);
}

/// One dump: sends a request, and collects the records of the replies.
class Dump {
 public:
  Dump(const DiagFilter& filter, DiagRecord* records, size_t capacity)
      : filter_(filter), records_(records), capacity_(capacity) {}

  /// Returns how many sockets match; -EINTR when the table changed meanwhile, so that some may be missing.
  Result run(int fd) {
    Result more = send_request(fd, filter_);
    if (more < 0) return more;
    do more = receive(fd);
    while (more > 0);
    if (more < 0) return more;
    return changed_ ? -EINTR : static_cast<Result>(count_);
  }

 private:
  /// recv(2) of one datagram. Returns 1 while more follow, 0 at the end.
  Result receive(int fd) {
    alignas(nlmsghdr) char bytes[kDatagramBytes];
    const Result size = receive_datagram(fd, bytes, sizeof bytes);
    if (size < 0) return size;
    if (size == 0) return -EPROTO;
    auto left = static_cast<unsigned>(size);
    for (const auto* header = reinterpret_cast<nlmsghdr*>(bytes); NLMSG_OK(header, left);
         header = next_message(header, &left)) {
      if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) changed_ = true;
      if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) return read_errno(header);
      if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) continue;
      if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return -EPROTO;
      const auto* message = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
      keep(to_record(message, header->nlmsg_len - NLMSG_HDRLEN));
    }
    return 1;
  }

  void keep(const DiagRecord& record) {
    // The kernel's filter can compare a port with a constant only, not with another port.
    if (filter_.joined_only && !is_joined(record)) return;
    if (count_ < capacity_) records_[count_] = record;
    count_++;
  }

  const DiagFilter& filter_;
  DiagRecord* const records_;
  const size_t capacity_;
  size_t count_ = 0;
  bool changed_ = false;
};

/// recv(2) of the reply about one socket: whether it is joined to itself; 0 when there is none.
Result receive_joined(int fd) {
  alignas(nlmsghdr) char bytes[kDatagramBytes];
  const Result size = receive_datagram(fd, bytes, sizeof bytes);
  if (size < 0) return size;
  const auto* header = reinterpret_cast<nlmsghdr*>(bytes);
  if (!NLMSG_OK(header, static_cast<unsigned>(size))) return -EPROTO;
  if (header->nlmsg_type == NLMSG_ERROR) {
    const Result error = read_errno(header);
    return error == -ENOENT || error == -ESTALE ? 0 : error < 0 ? error : -EPROTO;
  }
  if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) return -EPROTO;
  if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return -EPROTO;
  const auto* message = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
  return is_joined(to_record(message, sizeof *message)) ? 1 : 0;
}

}  // namespace

Result diag_joined(int fd, const Address& local) {
  // Sockets of an interface are found by its index only.
  int interface = 0;
  if (getsockopt(fd, SOL_SOCKET, kBindToIfIndex, &interface, sizeof interface) < 0) interface = 0;
  uint64_t cookie = 0;
  const Result known = getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, sizeof cookie);
  if (known < 0) return known;
  const Result table = open_diag(kOwnNamespace);
  if (table < 0) return table;
  const inet_diag_sockid id = id_of(local, local, static_cast<uint32_t>(interface), &cookie);
  Result result = send_request(table, SOCK_DIAG_BY_FAMILY, 0, local.family, id);
  if (result >= 0) result = receive_joined(table);
  close(table);
  return result;
}

Result diag_over(int fd, const DiagFilter& filter, DiagRecord* records, size_t capacity) {
  Result result = -EINTR;
  for (int dumps = 0; dumps < kMostDumps && result == -EINTR; dumps++) {
    result = Dump(filter, records, capacity).run(fd);
  }
  return result;
}

Result destroy(const DiagIdentity& identity, int namespace_fd) {
  const Result fd = open_diag(namespace_fd);
  if (fd < 0) return fd;
  const inet_diag_sockid id = id_of(identity.local, identity.peer, identity.interface, identity.cookie);
  Result result = send_request(fd, SOCK_DESTROY, NLM_F_ACK, identity.local.family, id);
  if (result >= 0) result = receive_acknowledgement(fd);
  close(fd);
  return result;
}

Result diag(const DiagFilter& filter, DiagRecord* records, size_t capacity) {
  const Result fd = open_diag(filter.namespace_fd);
  if (fd < 0) return fd;
  const Result result = diag_over(fd, filter, records, capacity);
  close(fd);
  return result;
}

}  // namespace core
