#pragma once

#include <cstdint>

#include "core/address.h"
#include "core/result.h"

namespace core {

/// Where the attempts of a burst go, as far as the kernel shows.
enum class Destination : Result {
  host = 0,
  moved = 1,      ///< The peer is no longer an address of this host.
  elsewhere = 2,  ///< This host's TCP did not send the refusals: a NAT rule or a firewall answers instead.
};

/// Checks that a burst floods nobody but this host, while it runs. A check takes some 20 microseconds.
class Home {
 public:
  /// `trusts_bind`: bind(2) to an address proves that this host has it (ip_nonlocal_bind is off).
  Home(const Address& peer, bool trusts_bind);
  ~Home();
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

  /// A Destination. `refusals`: how many attempts of the burst were refused until now. -EMFILE and the like
  /// where the kernel does not answer.
  Result check(uint32_t refusals);

 private:
  Result has_peer() const;

  const Address peer_;
  const bool trusts_bind_;
  /// /proc/thread-self/net/snmp; negative where there is none: then only the address is checked.
  const Result counters_fd_;
  int64_t resets_;
  uint32_t refusals_ = 0;
};

}  // namespace core
