#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/address.h"
#include "core/result.h"

namespace core {

/// The shape of an option's value for JavaScript: 64-bit integers, or bytes.
enum class Kind {
  flag,        ///< One integer, 0 or 1.
  integer,     ///< One integer: the kernel's int or u32.
  unsigned64,  ///< One integer: the kernel's u64.
  rate,        ///< One integer: the kernel's u64, of which the largest means unlimited.
  seconds,     ///< Two integers, on and seconds: struct linger.
  range,       ///< Two integers, low and high: two ports in one u32.
  word,        ///< One integer, the index of a word in the row's `words`.
  text,        ///< Bytes: a name.
  bytes,       ///< Bytes.
  address,     ///< Bytes: one core::Address; the kernel's sockaddr.
  signature,   ///< Bytes: one core::Address, then the key; struct tcp_md5sig.
  program,     ///< Bytes: struct sock_filter, one after another; struct sock_fprog.
  structure,   ///< One integer for each of the row's `fields`; kNoField where the kernel has none.
};
inline constexpr const char* kKindNames[] = {"flag",      "integer", "unsigned64", "rate",  "seconds",
                                             "range",     "word",    "text",       "bytes", "address",
                                             "signature", "program", "structure"};

enum class Access { read_write, read_only, write_only };
inline constexpr const char* kAccessNames[] = {"read-write", "read-only", "write-only"};

/// A value of a Kind::word option, and the kernel's number for it.
struct Word {
  const char* name;
  int number;
};

/// One row of the option table. To add an option, add a row here and a property to SocketOptions in
/// lib/socket/options.ts; its test and its line in docs/options.md are generated from them.
struct Option {
  const char* name;      ///< The property in lib/socket/options.ts.
  const char* constant;  ///< The constant, verbatim.
  int level;
  int number;          ///< kAbsent when the headers of this build do not define the constant.
  const char* since;   ///< The first Linux release that has it.
  const char* manual;  ///< The man page or RFC that describes it.
  Kind kind = Kind::flag;
  Access access = Access::read_write;
  const char* capability = "";  ///< The capability needed to set it, or "".
  int64_t low = 0;              ///< The smallest integer that it accepts, and the largest.
  int64_t high = 1;
  int64_t sample = 1;      ///< The value that the generated test sets (text and word rows: sample_text).
  int64_t reads_back = 1;  ///< The value that the kernel then returns.
  const char* sample_text = "";  ///< "" when only a test of its own can set the option.
  const char* caveat = "";       ///< Why the kernel returns another value than was set, or "".
  std::span<const Word> words = {};
  std::span<const char* const> (*fields)() = nullptr;  ///< Of a structure, in the order of its integers.
};

inline constexpr int kAbsent = -1;
inline constexpr int64_t kNoField = INT64_MIN;
/// The longest key of Kind::signature.
inline constexpr size_t kMostKeyBytes = 80;

/// A constant that the table does not have: for the raw calls.
struct OtherOption {
  const char* constant;
  int level;
  int number;          ///< kAbsent when the headers of this build do not define the constant.
  const char* reason;  ///< Why it has no row; "" for a level.
};

/// The whole table.
std::span<const Option> options();
/// Whether only IPv6 sockets have the option.
bool is_ipv6_only(const Option& option);
/// Whether the option's value is bytes for JavaScript.
bool has_bytes(const Option& option);
/// The other options of tcp(7), ip(7), ipv6(7) and socket(7), and the levels.
std::span<const OtherOption> other_options();

/// getsockopt(2) into integers. Returns how many it wrote, or -errno.
Result get_numbers(int fd, const Option& option, int64_t* values, size_t capacity);
/// setsockopt(2) from integers.
Result set_numbers(int fd, const Option& option, const int64_t* values, size_t count);
/// getsockopt(2) into bytes. Returns the length, of a text without the final NUL.
Result get_bytes(int fd, const Option& option, uint8_t* bytes, size_t capacity);
/// setsockopt(2) from bytes.
Result set_bytes(int fd, const Option& option, const uint8_t* bytes, size_t length);

/// setsockopt(2), IP_LOCAL_PORT_RANGE. Returns -ENOPROTOOPT when the build lacks it.
Result set_local_port_range(int fd, uint16_t low, uint16_t high);
/// setsockopt(2), IP_BIND_ADDRESS_NO_PORT. Returns -ENOPROTOOPT when the build lacks it.
Result set_late_bind(int fd);

/// The names of tcpi_state, indexed by its value.
std::span<const char* const> tcp_states();

}  // namespace core
