#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/result.h"

namespace core {

/// The shape of an option's value for JavaScript: 64-bit integers, or text.
enum class Kind {
  flag,        ///< One integer, 0 or 1.
  integer,     ///< One integer: the kernel's int.
  unsigned64,  ///< One integer: the kernel's u64.
  seconds,     ///< Two integers, on and seconds: struct linger.
  range,       ///< Two integers, low and high: two ports in one u32.
  text,        ///< Bytes.
  structure,   ///< One integer for each of kInformationFields: struct tcp_info.
};
inline constexpr const char* kKindNames[] = {"flag",  "integer", "unsigned64", "seconds",
                                             "range", "text",    "structure"};

/// One row of the option table. To add an option, add a row here and a property to SocketOptions in
/// lib/socket/options.ts; its test and its line in docs/options.md are generated from them.
struct Option {
  const char* name;      ///< The property in lib/socket/options.ts.
  const char* constant;  ///< The constant, verbatim.
  int level;
  int number;  ///< kAbsent when the headers of this build do not define the constant.
  Kind kind;
  bool ipv6_only;  ///< Only IPv6 sockets have it.
  bool read_only;
  const char* since;       ///< The first Linux release that has it.
  const char* manual;      ///< The man page or RFC that describes it.
  const char* capability;  ///< The capability needed to set it, or "".
  int64_t sample;          ///< The value that the generated test sets (text rows: sample_text).
  int64_t reads_back;      ///< The value that the kernel then returns.
  const char* sample_text;
  const char* caveat;  ///< Why the kernel returns another value than was set, or "".
};

inline constexpr int kAbsent = -1;

/// The whole table.
std::span<const Option> options();

/// getsockopt(2) into integers. Returns how many it wrote, or -errno.
Result get_numbers(int fd, const Option& option, int64_t* values, size_t capacity);
/// setsockopt(2) from integers.
Result set_numbers(int fd, const Option& option, const int64_t* values, size_t count);
/// getsockopt(2) of a text row. Returns the length without the final NUL.
Result get_text(int fd, const Option& option, char* bytes, size_t capacity);
/// setsockopt(2) of a text row.
Result set_text(int fd, const Option& option, const char* bytes, size_t length);

/// setsockopt(2), IP_LOCAL_PORT_RANGE. Returns -ENOPROTOOPT when the build lacks it.
Result set_local_port_range(int fd, uint16_t low, uint16_t high);

/// The fields of TCP_INFO in the order in which get_numbers writes them. Older kernels return only the first
/// ones.
std::span<const char* const> information_fields();
/// The names of tcpi_state, indexed by its value.
std::span<const char* const> tcp_states();

}  // namespace core
