#include "core/capture.h"

#include <array>

#include "core/syscall.h"

namespace core {

namespace {

/// Longer than any packet on loopback, whose MTU is 65,536 bytes.
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

/// A target of the filter's jumps; `next` is the following step.
enum class Label : uint8_t { next, ipv6, drop, keep };

/// One step before assembly: the labels to which a comparison jumps, and the label of this step.
struct Step {
  uint16_t code;
  uint32_t operand;
  Label if_true = Label::next;
  Label if_false = Label::next;
  Label here = Label::next;
};

/// Not constexpr, so that a filter with a jump to a label on no later step does not compile.
void report_lost_label() {}

template <size_t N>
constexpr uint8_t distance(const std::array<Step, N>& steps, size_t from, Label label) {
  if (label == Label::next) return 0;
  for (size_t to = from + 1; to < N; to++) {
    if (steps[to].here == label) return static_cast<uint8_t>(to - from - 1);
  }
  report_lost_label();
  return 0;
}

template <size_t N>
constexpr std::array<FilterStep, N> assemble(const std::array<Step, N>& steps) {
  static_assert(N <= UINT8_MAX, "a jump is at most 255 steps long");
  std::array<FilterStep, N> assembled{};
  for (size_t i = 0; i < N; i++) {
    const Step& step = steps[i];
    assembled[i] = {step.code, distance(steps, i, step.if_true), distance(steps, i, step.if_false),
                    step.operand};
  }
  return assembled;
}

/// Keeps outgoing TCP packets whose ports are `one` and `other`, either way round.
constexpr auto filter_between(uint16_t one, uint16_t other) {
  using namespace filter;
  // The two ports are the first four bytes of the TCP header. A port of 0 is masked out, so that any port
  // matches.
  const auto both = [](uint32_t from, uint32_t to) { return from << 16 | to; };
  const auto mask = [](uint16_t port) -> uint32_t { return port == 0 ? 0 : 0xffff; };
  const uint32_t there = both(one, other);
  const uint32_t back = both(other, one);
  const uint32_t there_mask = both(mask(one), mask(other));
  const uint32_t back_mask = both(mask(other), mask(one));
  constexpr uint32_t kIpv6Ports = kEthernetBytes + kIpv6Bytes;
  return assemble(std::to_array<Step>({
      {kLoadWord, kDirection},
      {kEquals, kOutgoing, Label::next, Label::drop},
      {kLoadHalf, kEtherType},
      {kEquals, kIpv4, Label::next, Label::ipv6},
      {kLoadByte, kIpv4Protocol},
      {kEquals, kTcp, Label::next, Label::drop},
      {kLoadHalf, kIpv4Fragment},
      {kAnyBit, 0x1fff, Label::drop, Label::next},  // A later fragment has no ports.
      {kLoadHeaderLength, kEthernetBytes},
      {kLoadWordPast, kEthernetBytes},
      {kAnd, there_mask},
      {kEquals, there, Label::keep, Label::next},
      {kLoadWordPast, kEthernetBytes},
      {kAnd, back_mask},
      {kEquals, back, Label::keep, Label::drop},
      {kEquals, kIpv6, Label::next, Label::drop, Label::ipv6},
      {kLoadByte, kIpv6NextHeader},
      {kEquals, kTcp, Label::next, Label::drop},
      {kLoadWord, kIpv6Ports},
      {kAnd, there_mask},
      {kEquals, there, Label::keep, Label::next},
      {kLoadWord, kIpv6Ports},
      {kAnd, back_mask},
      {kEquals, back, Label::keep, Label::drop},
      {kReturn, 0, Label::next, Label::next, Label::drop},
      {kReturn, kLongestPacket, Label::next, Label::next, Label::keep},
  }));
}
static_assert(filter_between(1, 2)[1].if_false > 0, "every label is found at compile time");

Result attach_filter(int fd, uint16_t one, uint16_t other) {
  const auto steps = filter_between(one, other);
  return packet_filter(fd, steps.data(), steps.size());
}

}  // namespace

Result capture_open(const char* interface, uint16_t one, uint16_t other, int buffer_bytes,
                    CaptureCall* failed) {
  *failed = CaptureCall::socket;
  const Result fd = packet_socket();
  if (fd < 0) return fd;
  *failed = CaptureCall::if_nametoindex;
  const Result index = if_nametoindex(interface);
  Result result = index;
  if (result >= 0) {
    *failed = CaptureCall::setsockopt;
    result = attach_filter(fd, one, other);
  }
  if (result >= 0) result = packet_buffer(fd, buffer_bytes);
  if (result >= 0) result = packet_stamps(fd);
  if (result >= 0) {
    *failed = CaptureCall::bind;
    result = packet_bind(fd, index);
  }
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
