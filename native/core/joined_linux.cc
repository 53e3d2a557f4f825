#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/diag.h"
#include "core/joined.h"
#include "core/syscall.h"

namespace core {

namespace {

/// Received segments of the shortest handshake with oneself: the own SYN, and the reply to it. A handshake
/// with another socket receives one, the SYN-ACK.
constexpr uint32_t kFewestSegments = 2;

/// The values of tcpi_state (include/net/tcp_states.h).
enum State : uint8_t { syn_sent = 2, closed = 7, close_wait = 8, last_ack = 9, listen = 10 };

/// Whether TCP_INFO proves that another socket is at the other end, or none. A socket that is joined to
/// itself has received its own handshake, receives no data that it has not sent, and never is the one of two
/// that closes second. This takes half a microsecond, so that the table of sockets is asked for few. Kernels
/// that do not count segments (gVisor, Linux before 4.2) have no hook that could replace the peer.
bool is_proven_apart(const tcp_info& info) {
  switch (info.tcpi_state) {
    case closed:
    case close_wait:
    case last_ack:
    case listen:
      return true;
    default:
      return info.tcpi_segs_in < kFewestSegments || info.tcpi_data_segs_in > info.tcpi_data_segs_out;
  }
}

}  // namespace

Result is_joined_in_kernel(int fd, const Address& local) {
  tcp_info info{};
  const Result known = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, sizeof info);
  if (known >= 0 && info.tcpi_state == syn_sent) return -ENOTCONN;
  if (known >= 0 && is_proven_apart(info)) return 0;
  return diag_joined(fd, local);
}

}  // namespace core
