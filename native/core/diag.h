#pragma once

#include <cstddef>
#include <cstdint>

#include "core/address.h"
#include "core/result.h"

/// Reads the kernel's table of TCP sockets by NETLINK_SOCK_DIAG, filtered in the kernel, as fixed-size
/// records.
namespace core {

/// One socket, for JavaScript: 96 bytes, integers in the machine's byte order, except in the addresses.
struct DiagRecord {
  Address local;
  Address peer;
  uint32_t state;  ///< As in tcpi_state.
  uint32_t uid;
  uint32_t inode;  ///< 0 when no process has the socket open.
  uint32_t receive_queue_bytes;
  uint32_t send_queue_bytes;
  uint32_t retransmits;
  uint32_t expires_ms;  ///< Until the running timer fires; 0 when no timer runs.
  uint32_t quiet_ms;    ///< Since the last data in either direction; kUnreported without `details`.
  uint32_t interface;   ///< SO_BINDTODEVICE: the index of the interface, or 0.
  uint32_t cookie[2];   ///< SO_COOKIE, the low word first: no other socket since boot has the same.
  uint32_t traits;      ///< A sum of the Trait bits.
};
static_assert(sizeof(DiagRecord) == 96);

enum Trait : uint32_t {
  kTraitV6Only = 1,     ///< IPV6_V6ONLY; reported for sockets that listen or are bound only.
  kTraitMultipath = 2,  ///< A subflow of Multipath TCP.
  kTraitOutgoing = 4,   ///< It has sent the first SYN; reported with `details`, Linux 4.19 and later.
  kTraitAccepted = 8,   ///< It was created by a listener; reported as kTraitOutgoing is.
};

inline constexpr uint32_t kUnreported = UINT32_MAX;

struct DiagFilter {
  int family;       ///< 4 or 6.
  uint32_t states;  ///< A bit for each state.
  uint16_t low;     ///< The local port is from `low` to `high`.
  uint16_t high;
  bool joined_only;       ///< Only sockets whose local address is their peer address.
  bool details;           ///< Also read TCP_INFO: expensive when there are many sockets.
  int namespace_fd = -1;  ///< The network namespace; -1 for this process's own.
};

/// What the kernel needs to find one socket again, and no other.
struct DiagIdentity {
  Address local;
  Address peer;
  uint32_t interface;
  uint32_t cookie[2];
};

/// sock_diag(7): writes the sockets that match the filter, up to `capacity`. Returns how many there are;
/// -ENOSYS when the kernel has no sock_diag; -EINTR when the table changed during each of several dumps.
Result diag(const DiagFilter& filter, DiagRecord* records, size_t capacity);

/// sock_diag(7): looks for the one socket from `local` to `local`. Returns 1 when it is this one, by its
/// SO_COOKIE; 0 when there is none or it is another. Takes 10 microseconds, however many sockets there are.
/// Linux only.
Result diag_joined(int fd, const Address& local);

/// sock_diag(7), SOCK_DESTROY: ends the connection; its owner's next call fails with ECONNABORTED. Ends a
/// TIME-WAIT too, where the kernel can. -EPERM without CAP_NET_ADMIN over the namespace, -EOPNOTSUPP where
/// the kernel was built without it, -ENOENT when the socket is gone or the cookie is another's.
Result destroy(const DiagIdentity& identity, int namespace_fd);

/// Does what diag() does over the caller's netlink socket. Linux only.
Result diag_over(int fd, const DiagFilter& filter, DiagRecord* records, size_t capacity);

}  // namespace core
