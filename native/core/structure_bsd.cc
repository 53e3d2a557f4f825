#include "core/structure.h"
#include "core/syscall.h"

namespace core {

namespace {

// FreeBSD's struct tcp_info has other members; only the state is read there.
constexpr const char* kInformationNames[] = {"state"};
// netinet/tcp_fsm.h.
constexpr const char* kStates[] = {"CLOSED",      "LISTEN",     "SYN-SENT",   "SYN-RECEIVED",
                                   "ESTABLISHED", "CLOSE-WAIT", "FIN-WAIT-1", "CLOSING",
                                   "LAST-ACK",    "FIN-WAIT-2", "TIME-WAIT"};

}  // namespace

std::span<const char* const> information_fields() { return kInformationNames; }
std::span<const char* const> congestion_fields() { return {}; }
std::span<const char* const> memory_fields() { return {}; }
std::span<const char* const> tcp_states() { return kStates; }

Result get_structure(int fd, const Option& option, int64_t* values, size_t capacity) {
  if (option.fields != information_fields || capacity == 0) return -EINVAL;
  uint8_t state = 0;
  const Result length = getsockopt(fd, option.level, option.number, &state, sizeof state);
  if (length < 0) return length;
  values[0] = state;
  return 1;
}

Result set_signature(int, const Option&, const Address&, const uint8_t*, size_t) { return -ENOPROTOOPT; }
Result set_program(int, const Option&, const uint8_t*, size_t) { return -ENOPROTOOPT; }

}  // namespace core
