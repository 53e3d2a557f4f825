// libFuzzer over what the core decodes: the kernel's replies (sock_diag, control messages, packets, /proc)
// and the values of options. Linked with --wrap for recv(2), recvmsg(2) and pread(2), so that the bytes come
// from the fuzzer.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "core/address.h"
#include "core/capture.h"
#include "core/diag.h"
#include "core/home.h"
#include "core/message.h"
#include "core/option.h"
#include "core/packet.h"
#include "core/syscall.h"

namespace {

/// What is left of the fuzzer's input.
const uint8_t* at;
size_t left;

size_t take(void* out, size_t length) {
  const size_t size = std::min(length, left);
  if (size > 0) std::memcpy(out, at, size);
  at += size;
  left -= size;
  return size;
}

template <typename T>
T take_value() {
  T value{};
  take(&value, sizeof value);
  return value;
}

/// Control messages as the kernel writes them: whole, and of any type and bytes.
size_t write_control(msghdr* message) {
  auto* const memory = static_cast<uint8_t*>(message->msg_control);
  constexpr int kTypes[][2] = {{SOL_SOCKET, SCM_TIMESTAMPING},
                               {SOL_SOCKET, SCM_TIMESTAMPNS},
                               {SOL_IP, IP_RECVERR},
                               {SOL_IPV6, IPV6_RECVERR},
                               {SOL_SOCKET, 77}};
  size_t used = 0;
  for (int count = take_value<uint8_t>() % 4; count > 0; count--) {
    uint8_t bytes[256];
    const auto& [level, type] = kTypes[take_value<uint8_t>() % std::size(kTypes)];
    // The kernel's time stamp is whole always; what it says of an error has any length.
    const size_t size = type == SCM_TIMESTAMPNS ? sizeof(timespec) : take_value<uint8_t>();
    if (take(bytes, size) < size) break;
    if (used + CMSG_SPACE(size) > message->msg_controllen) break;
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(size);
    header.cmsg_level = level;
    header.cmsg_type = type;
    std::memcpy(memory + used, &header, sizeof header);
    std::memcpy(memory + used + CMSG_LEN(0), bytes, size);
    used += CMSG_SPACE(size);
  }
  return used;
}

}  // namespace

extern "C" {

ssize_t __wrap_recv(int, void* bytes, size_t length, int flags) {
  if (left == 0) return 0;
  const size_t wanted = take_value<uint16_t>();
  const size_t size = take(bytes, std::min(wanted, length));
  return static_cast<ssize_t>((flags & MSG_TRUNC) != 0 && wanted > length ? wanted : size);
}

ssize_t __wrap_recvmsg(int, msghdr* message, int) {
  message->msg_flags = take_value<uint8_t>();
  message->msg_controllen = message->msg_control == nullptr ? 0 : write_control(message);
  const iovec& memory = message->msg_iov[0];
  const size_t wanted = take_value<uint32_t>() % (1 << 19);
  return static_cast<ssize_t>(std::max(wanted, take(memory.iov_base, std::min(wanted, memory.iov_len))));
}

ssize_t __wrap_pread(int, void* bytes, size_t length, off_t) {
  return static_cast<ssize_t>(take(bytes, length));
}
ssize_t __wrap_pread64(int, void* bytes, size_t length, off_t) {
  return static_cast<ssize_t>(take(bytes, length));
}

}  // extern "C"

namespace {

void decode_diag() {
  core::DiagFilter filter{};
  filter.family = take_value<uint8_t>() % 2 == 0 ? 4 : 6;
  filter.high = UINT16_MAX;
  filter.joined_only = take_value<uint8_t>() % 2 == 0;
  std::vector<core::DiagRecord> records(take_value<uint8_t>() % 8);
  const core::Result count = core::diag(filter, records.data(), records.size());
  if (count > 1 << 20) std::abort();
}

void decode_reply() {
  const int fd = core::socket(4, core::Blocking::no);
  core::Address local{};
  local.family = 4;
  const core::Result joined = core::diag_joined(fd, local);
  if (joined > 1) std::abort();
  core::DiagIdentity identity{};
  identity.local = identity.peer = local;
  static_cast<void>(core::destroy(identity, -1));
  core::close(fd);
}

void decode_message() {
  uint8_t bytes[64];
  core::MessageFacts facts{};
  core::Address offender{};
  static_cast<void>(core::recvmsg(0, bytes, {}, take_value<uint8_t>() % 2 == 0, &facts, &offender));
}

void decode_packets() {
  std::vector<uint8_t> bytes(1 << 18);
  core::PacketFacts facts[4];
  const core::Result count = core::capture_read(0, bytes.data(), bytes.size(), facts, std::size(facts));
  for (int i = 0; i < count; i++)
    if (facts[i].captured_bytes > bytes.size()) std::abort();
}

void decode_counters() {
  core::Address peer{};
  peer.family = 4;
  peer.host[0] = 127;
  core::Home home(peer, true);
  static_cast<void>(home.check(take_value<uint32_t>()));
}

void convert_addresses() {
  const auto storage = take_value<sockaddr_storage>();
  core::Address address{};
  if (!core::from_sockaddr(storage, &address)) return;
  sockaddr_storage back{};
  core::Address again{};
  if (core::to_sockaddr(address, &back) == 0 || !core::from_sockaddr(back, &again)) std::abort();
  if (std::memcmp(&address, &again, sizeof again) != 0) std::abort();
}

/// Every row with any value, and with any amount of memory for the answer.
void use_options() {
  const auto rows = core::options();
  const core::Option& row = rows[take_value<uint8_t>() % rows.size()];
  const int fd = core::socket(take_value<uint8_t>() % 2 == 0 ? 4 : 6, core::Blocking::no);
  std::vector<int64_t> numbers(take_value<uint8_t>() % 80);
  std::vector<uint8_t> bytes(take_value<uint8_t>());
  take(numbers.data(), numbers.size() * sizeof(int64_t));
  take(bytes.data(), bytes.size());
  if (core::has_bytes(row)) {
    static_cast<void>(core::set_bytes(fd, row, bytes.data(), bytes.size()));
    static_cast<void>(core::get_bytes(fd, row, bytes.data(), bytes.size()));
  } else {
    static_cast<void>(core::set_numbers(fd, row, numbers.data(), numbers.size()));
    const core::Result count = core::get_numbers(fd, row, numbers.data(), numbers.size());
    if (count > static_cast<core::Result>(numbers.size())) std::abort();
  }
  core::close(fd);
}

constexpr void (*kTargets[])() = {decode_diag,     decode_reply,      decode_message, decode_packets,
                                  decode_counters, convert_addresses, use_options};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  at = data + 1;
  left = size - 1;
  kTargets[data[0] % std::size(kTargets)]();
  return 0;
}
