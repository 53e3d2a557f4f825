#pragma once

#include <cstddef>
#include <cstdint>

#include "core/packet.h"
#include "core/result.h"

namespace core {

/// The system calls whose failure ends capture_open, in the order of kCaptureCallNames.
enum class CaptureCall : uint32_t { socket, if_nametoindex, setsockopt, bind };
inline constexpr const char* kCaptureCallNames[] = {"socket", "if_nametoindex", "setsockopt", "bind"};

/// AF_PACKET: captures the TCP packets between two ports (0 means any) on an interface with Ethernet frames,
/// such as loopback. Returns the fd, or the -errno of the call that it writes to `failed`. Loopback passes
/// each packet twice, outgoing and incoming: only the outgoing copy is kept, whose time stamp is taken when
/// it leaves its socket.
Result capture_open(const char* interface, uint16_t one, uint16_t other, int buffer_bytes,
                    CaptureCall* failed);

/// recvmsg(2): reads the waiting packets, one after another, into `bytes`, and the facts of each into
/// `facts`. Returns how many it read. There may be more when that is `most`, or when `bytes` is full.
Result capture_read(int fd, uint8_t* bytes, size_t capacity, PacketFacts* facts, size_t most);

}  // namespace core
