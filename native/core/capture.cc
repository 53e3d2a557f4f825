#include "core/capture.h"

#include <iterator>

#include "core/syscall.h"

namespace core {

namespace {

/// Longer than any packet of loopback, whose MTU is 65,536 bytes.
constexpr uint32_t kLongestPacket = 1 << 18;

constexpr uint32_t kEthernetBytes = 14;
constexpr uint32_t kEtherType = 12;
constexpr uint32_t kIpv4 = 0x0800;
constexpr uint32_t kIpv4Fragment = kEthernetBytes + 6;
constexpr uint32_t kIpv4Protocol = kEthernetBytes + 9;
constexpr uint32_t kIpv6 = 0x86dd;
constexpr uint32_t kIpv6NextHeader = kEthernetBytes + 6;
constexpr uint32_t kIpv6Bytes = 40;
constexpr uint32_t kTcp = 6;

Result attach_filter(int fd, uint16_t one, uint16_t other) {
  using namespace filter;
  // Both ports are the first four bytes of the TCP header. A port of 0 is masked out: any port is right.
  const auto both = [](uint32_t from, uint32_t to) { return from << 16 | to; };
  const auto mask = [](uint16_t port) -> uint32_t { return port == 0 ? 0 : 0xffff; };
  const uint32_t there = both(one, other);
  const uint32_t back = both(other, one);
  const uint32_t there_mask = both(mask(one), mask(other));
  const uint32_t back_mask = both(mask(other), mask(one));
  constexpr uint8_t kLast = 25;
  const auto reject = [](int step) { return static_cast<uint8_t>(kLast - 1 - (step + 1)); };
  const auto accept = [](int step) { return static_cast<uint8_t>(kLast - (step + 1)); };
  const FilterStep steps[] = {
      /*  0 */ {kLoadWord, 0, 0, kDirection},
      /*  1 */ {kEquals, 0, reject(1), kOutgoing},
      /*  2 */ {kLoadHalf, 0, 0, kEtherType},
      /*  3 */ {kEquals, 0, 11, kIpv4},
      /*  4 */ {kLoadByte, 0, 0, kIpv4Protocol},
      /*  5 */ {kEquals, 0, reject(5), kTcp},
      /*  6 */ {kLoadHalf, 0, 0, kIpv4Fragment},
      /*  7 */ {kAnyBit, reject(7), 0, 0x1fff},  // Not the first fragment: no ports in it.
      /*  8 */ {kLoadHeaderLength, 0, 0, kEthernetBytes},
      /*  9 */ {kLoadWordPast, 0, 0, kEthernetBytes},
      /* 10 */ {kAnd, 0, 0, there_mask},
      /* 11 */ {kEquals, accept(11), 0, there},
      /* 12 */ {kLoadWordPast, 0, 0, kEthernetBytes},
      /* 13 */ {kAnd, 0, 0, back_mask},
      /* 14 */ {kEquals, accept(14), reject(14), back},
      /* 15 */ {kEquals, 0, reject(15), kIpv6},
      /* 16 */ {kLoadByte, 0, 0, kIpv6NextHeader},
      /* 17 */ {kEquals, 0, reject(17), kTcp},
      /* 18 */ {kLoadWord, 0, 0, kEthernetBytes + kIpv6Bytes},
      /* 19 */ {kAnd, 0, 0, there_mask},
      /* 20 */ {kEquals, accept(20), 0, there},
      /* 21 */ {kLoadWord, 0, 0, kEthernetBytes + kIpv6Bytes},
      /* 22 */ {kAnd, 0, 0, back_mask},
      /* 23 */ {kEquals, accept(23), reject(23), back},
      /* 24 */ {kReturn, 0, 0, 0},
      /* 25 */ {kReturn, 0, 0, kLongestPacket},
  };
  static_assert(std::size(steps) == kLast + 1);
  return packet_filter(fd, steps, std::size(steps));
}

}  // namespace

Result capture_open(const char* interface, uint16_t one, uint16_t other, int buffer_bytes) {
  const Result fd = packet_socket();
  if (fd < 0) return fd;
  const Result index = if_nametoindex(interface);
  Result result = index < 0 ? index : attach_filter(fd, one, other);
  if (result >= 0) result = packet_buffer(fd, buffer_bytes);
  if (result >= 0) result = packet_bind(fd, index);
  if (result >= 0) return fd;
  close(fd);
  return result;
}

Result capture_read(int fd, uint8_t* bytes, size_t capacity, PacketFacts* facts, size_t most) {
  size_t used = 0;
  size_t count = 0;
  while (count < most && (count == 0 || capacity - used >= kLongestPacket)) {
    const Result result = packet_receive(fd, bytes + used, capacity - used, &facts[count]);
    if (result == -EAGAIN) break;
    if (result < 0) return result;
    used += facts[count++].captured_bytes;
  }
  return static_cast<Result>(count);
}

}  // namespace core
