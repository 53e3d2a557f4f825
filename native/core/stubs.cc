// Replaces the functions that only Linux has on every other platform.
#include "core/diag.h"
#include "core/packet.h"

namespace core {

Result diag(const DiagFilter&, DiagRecord*, size_t) { return -ENOSYS; }

Result packet_socket() { return -ENOSYS; }
Result packet_filter(int, const FilterStep*, size_t) { return -ENOSYS; }
Result packet_buffer(int, int) { return -ENOSYS; }
Result packet_bind(int, int) { return -ENOSYS; }
Result packet_receive(int, void*, size_t, PacketFacts*) { return -ENOSYS; }
Result packet_statistics(int, uint32_t*, uint32_t*) { return -ENOSYS; }

}  // namespace core
