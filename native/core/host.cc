#include "core/host.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/syscall.h"
#include "core/thread.h"

namespace core {

namespace {

/// Unprivileged ports that are tried where no ephemeral one is free; any free one will do.
constexpr uint16_t kFirstPort = 1024;
constexpr uint16_t kPortStep = 1009;
constexpr int kMostPorts = 64;

/// bind(2) to a port of our own choice, where connect(2) finds none: all are reserved or in use.
Result bind_anywhere(int datagram_fd, uint8_t family) {
  Result bound = -EAGAIN;
  for (int attempt = 0; attempt < kMostPorts && bound < 0; attempt++) {
    const Address any{.family = family, .reserved = 0, .port = 0, .scope = 0, .host = {}};
    bound = bind(datagram_fd, with_port(any, static_cast<uint16_t>(kFirstPort + attempt * kPortStep)));
  }
  return bound;
}

}  // namespace

Result run_in_namespace(int namespace_fd, const std::function<Result()>& work) {
  if (namespace_fd < 0) return work();
  Result result = 0;
  Thread thread;
  const Result started = thread.start([&result, &work, namespace_fd] {
    result = enter_network_namespace(namespace_fd);
    if (result >= 0) result = work();
  });
  if (started < 0) return started;
  thread.join();
  return result;
}

Result source_address(int datagram_fd, const Address& peer, Address* local) {
  Result connected = connect(datagram_fd, peer);
  if (connected == -EAGAIN && bind_anywhere(datagram_fd, peer.family) >= 0)
    connected = connect(datagram_fd, peer);
  return connected < 0 ? connected : getsockname(datagram_fd, local);
}

Result route_source(const Address& peer, Address* local) {
  const Result fd = datagram_socket(peer.family);
  if (fd < 0) return fd;
  const Result result = source_address(fd, with_port(peer, kAnyPort), local);
  close(fd);
  return result;
}

Result read_file(const char* path, void* bytes, size_t capacity, FileCall* failed) {
  *failed = FileCall::open;
  const Result fd = or_errno(::open(path, O_RDONLY | O_CLOEXEC));
  if (fd < 0) return fd;
  *failed = FileCall::read;
  const Result size = or_errno(::read(fd, bytes, capacity));
  close(fd);
  return size;
}

}  // namespace core
