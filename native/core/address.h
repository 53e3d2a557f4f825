#pragma once

#include <sys/socket.h>

#include <cstdint>

namespace core {

/// A TCP address for native code and JavaScript: 24 bytes, integers in network order, without kernel
/// constants. lib/socket/address.ts reads and writes the same layout.
struct Address {
  uint8_t family;    ///< 4 or 6: the version of IP, not AF_INET or AF_INET6.
  uint8_t reserved;  ///< Always 0.
  uint16_t port;     ///< Network order.
  uint32_t scope;    ///< Network order; the interface index of a link-local IPv6 address.
  uint8_t host[16];  ///< IPv4 uses the first four bytes.
};
static_assert(sizeof(Address) == 24);

/// Converts an address to a sockaddr and returns its length.
socklen_t to_sockaddr(const Address& address, sockaddr_storage* out);

/// Converts a sockaddr to an address; returns false when it is neither AF_INET nor AF_INET6.
bool from_sockaddr(const sockaddr_storage& storage, Address* out);

/// The same host with another port (host order).
Address with_port(const Address& address, uint16_t port);

/// The port in host order.
uint16_t port_of(const Address& address);

}  // namespace core
