#pragma once

#include <sys/socket.h>

#include <cstdint>

namespace core {

/// A TCP address as it crosses the boundary: 24 bytes, integers in network order, no kernel constant
/// in it. JavaScript reads and writes the same layout (lib/socket/address.ts).
struct Address {
  uint8_t family;    ///< 4 or 6: the version of IP, not AF_INET or AF_INET6.
  uint8_t reserved;  ///< Always 0.
  uint16_t port;     ///< Network order.
  uint32_t scope;    ///< Network order; the interface index of a link-local IPv6 address.
  uint8_t host[16];  ///< IPv4 uses the first four bytes.
};
static_assert(sizeof(Address) == 24);

/// Writes the sockaddr for an address and returns its length.
socklen_t to_sockaddr(const Address& address, sockaddr_storage* out);

/// Reads a sockaddr; false when it is neither AF_INET nor AF_INET6.
bool from_sockaddr(const sockaddr_storage& storage, Address* out);

/// The same host with another port (host order).
Address with_port(const Address& address, uint16_t port);

/// The port in host order.
uint16_t port_of(const Address& address);

}  // namespace core
