#pragma once

#include <cstddef>
#include <cstdint>

#include "core/result.h"

/// AF_PACKET, one function for each system call. All return -ENOSYS on a platform without AF_PACKET.
namespace core {

/// One step of a packet filter: struct sock_filter of bpf(4), the same on every platform that has it.
struct FilterStep {
  uint16_t code;
  uint8_t if_true;   ///< How many steps to skip when a comparison holds.
  uint8_t if_false;  ///< How many steps to skip when it does not.
  uint32_t operand;
};

/// The instructions that we use, named after their effect.
namespace filter {
inline constexpr uint16_t kLoadWord = 0x20;          ///< A = 32 bits at the operand.
inline constexpr uint16_t kLoadHalf = 0x28;          ///< A = 16 bits at the operand.
inline constexpr uint16_t kLoadByte = 0x30;          ///< A = 8 bits at the operand.
inline constexpr uint16_t kLoadWordPast = 0x40;      ///< A = 32 bits at X + the operand.
inline constexpr uint16_t kLoadHeaderLength = 0xb1;  ///< X = 4 * (the low four bits at the operand).
inline constexpr uint16_t kEquals = 0x15;            ///< A == the operand.
inline constexpr uint16_t kAnyBit = 0x45;            ///< A & the operand.
inline constexpr uint16_t kAnd = 0x54;               ///< A = A & the operand.
inline constexpr uint16_t kReturn = 0x06;            ///< Keep at most the operand's number of bytes.
/// The offset at which a Linux filter reads a packet's direction, and its value for outgoing (packet(7)).
inline constexpr uint32_t kDirection = 0xfffff004;
inline constexpr uint32_t kOutgoing = 4;
}  // namespace filter

/// What recvmsg(2) reports about a packet besides its bytes.
struct PacketFacts {
  uint64_t stamp_ns;  ///< SCM_TIMESTAMPNS: CLOCK_REALTIME when the packet passed.
  uint64_t captured_bytes;
  uint64_t wire_bytes;  ///< Larger than captured_bytes when the packet did not fit.
};

/// socket(2), AF_PACKET and SOCK_RAW, nonblocking. It receives nothing until packet_bind.
Result packet_socket();
/// setsockopt(2), SO_ATTACH_FILTER.
Result packet_filter(int fd, const FilterStep* steps, size_t count);
/// setsockopt(2), SO_RCVBUFFORCE, or SO_RCVBUF when the kernel does not permit that.
Result packet_buffer(int fd, int bytes);
/// setsockopt(2), SO_TIMESTAMPNS: packet_receive reports when each packet passed.
Result packet_stamps(int fd);
/// bind(2) to an interface for all protocols.
Result packet_bind(int fd, int interface_index);
/// recvmsg(2) of one packet. Returns 0, or -EAGAIN when no packet is waiting.
Result packet_receive(int fd, void* bytes, size_t length, PacketFacts* facts);
/// getsockopt(2), PACKET_STATISTICS: writes how many packets passed the filter since the last call, including
/// dropped ones, and how many of them the kernel dropped because the buffer was full.
Result packet_statistics(int fd, uint32_t* passed, uint32_t* dropped);

}  // namespace core
