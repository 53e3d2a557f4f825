#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "core/diag.h"
#include "core/joined.h"
#include "core/syscall.h"

namespace core {

namespace {

/// The values of tcpi_state (include/net/tcp_states.h).
enum State : uint8_t {
  syn_sent = 2,
  syn_received = 3,
  closed = 7,
  close_wait = 8,
  last_ack = 9,
  listen = 10
};

/// A socket that is joined to itself has received its own SYN and its own reply to it; any other has received
/// the SYN-ACK of its peer after connect(2), and nothing else yet.
constexpr uint32_t kSynAck = 1;

/// Whether TCP_INFO proves that another socket is at the other end, or none. Nearly every connect needs no
/// more than this one call.
bool is_proven_apart(const tcp_info& info) {
  switch (info.tcpi_state) {
    case closed:
    case close_wait:  // Of two ends this is the one that closes second, and there is only one.
    case last_ack:
    case listen:
      return true;
    default:
      // Nor does it receive data that it has not sent.
      return info.tcpi_segs_in == kSynAck || info.tcpi_data_segs_in > info.tcpi_data_segs_out;
  }
}

bool is_closed(int fd) {
  tcp_info info{};
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, sizeof info) >= 0 && info.tcpi_state == closed;
}

bool is_connecting(const tcp_info& info) {
  return info.tcpi_state == syn_sent || info.tcpi_state == syn_received;
}

}  // namespace

Result connect_progress(int fd) {
  tcp_info info{};
  const Result known = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, sizeof info);
  // A connect that has ended without a connection has an error, and no peer.
  if (known < 0 || info.tcpi_state == closed) return named_progress(fd);
  if (is_connecting(info)) return kInProgress;
  return is_proven_apart(info) ? kConnectedApart : 0;
}

Result is_joined(int fd) {
  tcp_info info{};
  const Result known = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, sizeof info);
  // In SYN-RECEIVED a joined socket has received one segment too, its own SYN.
  if (known >= 0 && is_connecting(info)) return -ENOTCONN;
  if (known >= 0 && is_proven_apart(info)) return 0;
  Address local;
  const Result named = has_own_name(fd, &local);
  // If the connection was reset since TCP_INFO was read, the socket is joined to nothing now.
  if (known >= 0 && named == -ENOTCONN && is_closed(fd)) return 0;
  // Kernels that do not count segments (gVisor, Linux before 4.2) have no hook that could replace the peer.
  const bool is_counted = known < 0 || info.tcpi_segs_in > 0;
  return named == 0 && is_counted ? diag_joined(fd, local) : named;
}

Result has_received_own(int fd) {
  tcp_info info{};
  const Result known = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, sizeof info);
  if (known < 0) return known;
  if (info.tcpi_notsent_bytes > 0) return 0;
  if (info.tcpi_unacked == 0) return 1;
  // The acknowledgment may be delayed by 40 ms and more, although the bytes have arrived.
  const bool is_counted = info.tcpi_bytes_sent > 0;  // Since Linux 4.19.
  return is_counted && info.tcpi_bytes_received >= info.tcpi_bytes_sent - info.tcpi_bytes_retrans ? 1 : 0;
}

}  // namespace core
