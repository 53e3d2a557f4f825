#include "core/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace core {

socklen_t to_sockaddr(const Address& address, sockaddr_storage* out) {
  std::memset(out, 0, sizeof *out);
  if (address.family == 4) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(out);
    v4->sin_family = AF_INET;
    v4->sin_port = address.port;
    std::memcpy(&v4->sin_addr, address.host, sizeof v4->sin_addr);
    return sizeof *v4;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(out);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = address.port;
  v6->sin6_scope_id = ntohl(address.scope);
  std::memcpy(&v6->sin6_addr, address.host, sizeof v6->sin6_addr);
  return sizeof *v6;
}

bool from_sockaddr(const sockaddr_storage& storage, Address* out) {
  std::memset(out, 0, sizeof *out);
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    out->family = 4;
    out->port = v4.sin_port;
    std::memcpy(out->host, &v4.sin_addr, sizeof v4.sin_addr);
    return true;
  }
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    out->family = 6;
    out->port = v6.sin6_port;
    out->scope = htonl(v6.sin6_scope_id);
    std::memcpy(out->host, &v6.sin6_addr, sizeof v6.sin6_addr);
    return true;
  }
  return false;
}

Address with_port(const Address& address, uint16_t port) {
  Address other = address;
  other.port = htons(port);
  return other;
}

uint16_t port_of(const Address& address) { return ntohs(address.port); }

}  // namespace core
