#pragma once

#include <cstddef>
#include <cstdint>

#include "core/address.h"
#include "core/result.h"

/// The kernel's table of TCP sockets, by NETLINK_SOCK_DIAG: filtered in the kernel, in fixed-size records.
namespace core {

/// One socket as it crosses the boundary: 80 bytes, integers in the machine's order but for the addresses.
struct DiagRecord {
  Address local;
  Address peer;
  uint32_t state;  ///< As in tcpi_state.
  uint32_t uid;
  uint32_t inode;  ///< 0 when no process has the socket open any more.
  uint32_t receive_queue_bytes;
  uint32_t send_queue_bytes;
  uint32_t retransmits;
  uint32_t expires_ms;  ///< Until the running timer fires; 0 when none runs.
  uint32_t quiet_ms;    ///< Since data last went either way; kUntold unless details were asked for.
};
static_assert(sizeof(DiagRecord) == 80);

inline constexpr uint32_t kUntold = UINT32_MAX;

struct DiagFilter {
  int family;       ///< 4 or 6.
  uint32_t states;  ///< A bit for each state.
  uint16_t low;     ///< The local port lies between low and high.
  uint16_t high;
  bool joined_only;  ///< Only sockets whose local address is their peer address.
  bool details;      ///< TCP_INFO too: expensive where there are many sockets.
};

/// Writes the sockets that pass the filter, up to `capacity`, and returns how many there are. -ENOSYS where
/// the kernel has no such table, -EINTR when it changed under every one of several dumps.
Result diag(const DiagFilter& filter, DiagRecord* records, size_t capacity);

/// The same over a netlink socket of the caller's. Linux only.
Result diag_over(int fd, const DiagFilter& filter, DiagRecord* records, size_t capacity);

}  // namespace core
