#pragma once

#include <cstddef>
#include <cstdint>

#include "core/packet.h"
#include "core/result.h"

namespace core {

/// Listens on an interface that carries Ethernet frames (loopback does) for the TCP packets between two
/// ports, of which 0 is any. Returns the fd. On loopback every packet passes twice, going out and coming in:
/// the outgoing copy is kept, which is stamped when it leaves its socket.
Result capture_open(const char* interface, uint16_t one, uint16_t other, int buffer_bytes);

/// Takes the packets that are there, one after another into `bytes`, and the facts of each into `facts`.
/// Returns how many; when that is `most`, or `bytes` got full, there may be more.
Result capture_read(int fd, uint8_t* bytes, size_t capacity, PacketFacts* facts, size_t most);

}  // namespace core
