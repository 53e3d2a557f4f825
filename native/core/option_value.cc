// Reads and writes the options of the table: each kind of value as integers or bytes.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/option.h"
#include "core/structure.h"
#include "core/syscall.h"

namespace core {

namespace {

template <class Value>
Result set(int fd, const Option& option, Value value) {
  return setsockopt(fd, option.level, option.number, &value, sizeof value);
}

/// The kernel returns four bytes for a rate that it has as an unsigned long of 32 bits.
Result get_unsigned64(int fd, const Option& option, int64_t* value) {
  uint64_t wide = 0;
  const Result length = getsockopt(fd, option.level, option.number, &wide, sizeof wide);
  if (length < 0) return length;
  if (length == sizeof(uint32_t) && wide == UINT32_MAX) wide = UINT64_MAX;
  std::memcpy(value, &wide, sizeof wide);
  return 1;
}

/// The word whose bits are set, among the bits that words have; other bits may be set besides.
Result find_word(const Option& option, int number, int64_t* value) {
  int bits = 0;
  for (const Word& word : option.words) bits |= word.number;
  for (size_t i = 0; i < option.words.size(); i++) {
    if ((number & bits) != option.words[i].number) continue;
    *value = static_cast<int64_t>(i);
    return 1;
  }
  return -ENOMSG;
}

/// Splits what the kernel returned as one int.
Result read_int(const Option& option, int number, int64_t* values) {
  const auto bits = static_cast<uint32_t>(number);
  switch (option.kind) {
    case Kind::flag:
      values[0] = number != 0;
      return 1;
    case Kind::range:
      values[0] = bits & 0xffff;
      values[1] = bits >> 16;
      return 2;
    case Kind::word:
      return find_word(option, number, values);
    default:
      values[0] = option.high > INT32_MAX ? int64_t{bits} : int64_t{number};
      return 1;
  }
}

Result get_address(int fd, const Option& option, uint8_t* bytes, size_t capacity) {
  sockaddr_storage storage{};
  const size_t room = is_ipv6_only(option) ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  const Result length = getsockopt(fd, option.level, option.number, &storage, room);
  if (length < 0) return length;
  Address address;
  if (capacity < sizeof address) return -EINVAL;
  if (!from_sockaddr(storage, &address)) return -EAFNOSUPPORT;
  std::memcpy(bytes, &address, sizeof address);
  return sizeof address;
}

}  // namespace

bool has_bytes(const Option& option) {
  return option.kind == Kind::text || option.kind == Kind::bytes || option.kind == Kind::address ||
         option.kind == Kind::signature || option.kind == Kind::program;
}

Result get_numbers(int fd, const Option& option, int64_t* values, size_t capacity) {
  if (option.number == kAbsent) return -ENOPROTOOPT;
  if (capacity < 2 || has_bytes(option)) return -EINVAL;
  if (option.kind == Kind::structure) return get_structure(fd, option, values, capacity);
  if (option.kind == Kind::unsigned64 || option.kind == Kind::rate) return get_unsigned64(fd, option, values);
  if (option.kind == Kind::seconds) {
    linger value{};
    const Result result = getsockopt(fd, option.level, option.number, &value, sizeof value);
    values[0] = value.l_onoff;
    values[1] = value.l_linger;
    return result < 0 ? result : 2;
  }
  int value = 0;
  const Result result = getsockopt(fd, option.level, option.number, &value, sizeof value);
  return result < 0 ? result : read_int(option, value, values);
}

Result set_numbers(int fd, const Option& option, const int64_t* values, size_t count) {
  if (option.number == kAbsent) return -ENOPROTOOPT;
  if (count < 2 || has_bytes(option)) return -EINVAL;
  switch (option.kind) {
    case Kind::flag:
    case Kind::integer:
      return set(fd, option, static_cast<int>(values[0]));
    case Kind::unsigned64:
    case Kind::rate:
      return set(fd, option, static_cast<uint64_t>(values[0]));
    case Kind::seconds:
      return set(fd, option, linger{static_cast<int>(values[0]), static_cast<int>(values[1])});
    case Kind::range:
      return set(fd, option,
                 static_cast<uint32_t>(values[0] & 0xffff) | static_cast<uint32_t>(values[1] & 0xffff) << 16);
    case Kind::word: {
      const auto index = static_cast<size_t>(values[0]);
      return index < option.words.size() ? set(fd, option, option.words[index].number) : -EINVAL;
    }
    default:
      return -EINVAL;
  }
}

Result get_bytes(int fd, const Option& option, uint8_t* bytes, size_t capacity) {
  if (option.number == kAbsent) return -ENOPROTOOPT;
  if (option.kind == Kind::address) return get_address(fd, option, bytes, capacity);
  const Result length = getsockopt(fd, option.level, option.number, bytes, capacity);
  // Without memory there may be no pointer, which strnlen() does not take.
  if (length <= 0 || option.kind != Kind::text) return length;
  return static_cast<Result>(strnlen(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length)));
}

Result set_bytes(int fd, const Option& option, const uint8_t* bytes, size_t length) {
  if (option.number == kAbsent) return -ENOPROTOOPT;
  if (option.kind == Kind::program) return set_program(fd, option, bytes, length);
  if (option.kind != Kind::signature) return setsockopt(fd, option.level, option.number, bytes, length);
  Address peer;
  if (length < sizeof peer) return -EINVAL;
  std::memcpy(&peer, bytes, sizeof peer);
  return set_signature(fd, option, peer, bytes + sizeof peer, length - sizeof peer);
}

Result set_local_port_range(int fd, uint16_t low, uint16_t high) {
  for (const Option& option : options()) {
    if (option.kind != Kind::range) continue;
    const int64_t bounds[] = {low, high};
    return set_numbers(fd, option, bounds, 2);
  }
  return -ENOPROTOOPT;
}

Result set_late_bind(int fd) {
  const std::span<const Option> all = options();
  const auto row = std::ranges::find(all, std::string_view("bindAddressNoPort"), &Option::name);
  const int64_t on[] = {1, 0};
  return row == all.end() ? -ENOPROTOOPT : set_numbers(fd, *row, on, 2);
}

}  // namespace core
