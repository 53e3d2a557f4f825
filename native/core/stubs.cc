// Replaces the functions that only Linux has on every other platform.
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/diag.h"
#include "core/engine.h"
#include "core/joined.h"
#include "core/message.h"
#include "core/option.h"
#include "core/packet.h"
#include "core/remote.h"

namespace core {

Result diag(const DiagFilter&, DiagRecord*, size_t) { return -ENOSYS; }
Result destroy(const DiagIdentity&, int) { return -ENOSYS; }
Result local_name_of(int, int, Address*) { return -ENOSYS; }
Result disconnect_joined(int, int, const RemoteIdentity&) { return -ENOSYS; }

Result connect_progress(int fd) { return named_progress(fd); }

Result is_joined(int fd) {
  Address local;
  return has_own_name(fd, &local);
}

Result has_received_own(int) { return -ENOSYS; }

Result make_ring_engine(Attempts&, std::unique_ptr<Engine>*) { return -ENOSYS; }

Result set_reports(int, Reports) { return -ENOSYS; }
Result send_stamped(int, std::span<const std::span<const uint8_t>>, Stamps) { return -ENOSYS; }
Result recvmsg(int, std::span<uint8_t>, Transfer, bool, MessageFacts*, Address*) { return -ENOSYS; }

std::span<const OtherOption> other_options() {
  static constexpr OtherOption kLevels[] = {{"SOL_SOCKET", SOL_SOCKET, SOL_SOCKET, ""},
                                            {"IPPROTO_IP", IPPROTO_IP, IPPROTO_IP, ""},
                                            {"IPPROTO_IPV6", IPPROTO_IPV6, IPPROTO_IPV6, ""},
                                            {"IPPROTO_TCP", IPPROTO_TCP, IPPROTO_TCP, ""}};
  return kLevels;
}

Result packet_socket() { return -ENOSYS; }
Result packet_filter(int, const FilterStep*, size_t) { return -ENOSYS; }
Result packet_buffer(int, int) { return -ENOSYS; }
Result packet_stamps(int) { return -ENOSYS; }
Result packet_bind(int, int) { return -ENOSYS; }
Result packet_receive(int, void*, size_t, PacketFacts*) { return -ENOSYS; }
Result packet_statistics(int, uint32_t*, uint32_t*) { return -ENOSYS; }

}  // namespace core
