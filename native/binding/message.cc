#include "core/message.h"

#include <napi.h>

#include <vector>

#include "binding/value.h"

namespace binding {

namespace {

using Bytes = std::span<const uint8_t>;

/// send(socket, bytes, urgent).
core::Result send(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const auto bytes = arguments.read_array<uint8_t>(1, napi_uint8_array, "bytes");
  const bool urgent = arguments.read_flag(2);
  if (arguments.is_refused()) return 0;
  return core::send(fd, bytes.data(), bytes.size(), {.urgent = urgent});
}

/// recv(socket, bytes, peek, urgent).
core::Result recv(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const auto bytes = arguments.read_array<uint8_t>(1, napi_uint8_array, "memory for bytes");
  const core::Transfer flags = arguments.read_transfer(2);
  return arguments.is_refused() ? 0 : core::recv(fd, bytes.data(), bytes.size(), flags);
}

/// The bytes of each Uint8Array in an array.
std::vector<Bytes> read_buffers(Arguments& arguments, size_t index) {
  std::vector<Bytes> buffers;
  const Napi::Value value = arguments.value(index);
  const char* expected = "an array of bytes";
  if (!value.IsArray()) {
    arguments.refuse(index, expected);
    return buffers;
  }
  const auto array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length() && !arguments.is_refused(); i++) {
    const Napi::Value element = array.Get(i);
    if (element.IsTypedArray() && element.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
      const auto bytes = element.As<Napi::Uint8Array>();
      buffers.emplace_back(bytes.Data(), bytes.ElementLength());
    } else {
      arguments.refuse(index, expected);
    }
  }
  return buffers;
}

/// sendmsg(socket, buffers).
core::Result sendmsg(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const std::vector<Bytes> buffers = read_buffers(arguments, 1);
  return arguments.is_refused() ? 0 : core::sendmsg(fd, buffers);
}

/// sendStamped(socket, buffers, sent, acknowledged).
core::Result send_stamped(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const std::vector<Bytes> buffers = read_buffers(arguments, 1);
  const core::Stamps stamps = {.sent = arguments.read_flag(2), .acknowledged = arguments.read_flag(3)};
  return arguments.is_refused() ? 0 : core::send_stamped(fd, buffers, stamps);
}

/// recvmsg(socket, bytes, peek, urgent, errorQueue, facts, offender).
core::Result recvmsg(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const auto bytes = arguments.read_array<uint8_t>(1, napi_uint8_array, "memory for bytes");
  const core::Transfer flags = arguments.read_transfer(2);
  const bool error_queue = arguments.read_flag(4);
  const auto words = arguments.read_array<int64_t>(5, napi_bigint64_array, "memory for facts");
  const auto memory = arguments.read_memory_for<core::Address>(6, "memory for an address of 24 bytes");
  if (!arguments.is_refused() && words.size_bytes() != sizeof(core::MessageFacts)) {
    arguments.refuse(5, "memory for facts");
  }
  if (arguments.is_refused()) return 0;
  core::MessageFacts facts;
  core::Address offender{};
  const core::Result result = core::recvmsg(fd, bytes, flags, error_queue, &facts, &offender);
  if (result < 0) return result;
  std::memcpy(words.data(), &facts, sizeof facts);
  std::memcpy(memory.data(), &offender, sizeof offender);
  return result;
}

/// setReports(socket, errors, received, sent, acknowledged, requested).
core::Result set_reports(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const core::Reports reports = {.errors = arguments.read_flag(1),
                                 .received = arguments.read_flag(2),
                                 .sent = arguments.read_flag(3),
                                 .acknowledged = arguments.read_flag(4),
                                 .requested = arguments.read_flag(5)};
  return arguments.is_refused() ? 0 : core::set_reports(fd, reports);
}

}  // namespace

void export_message(Napi::Object exports) {
  export_call<send>(exports, "send");
  export_call<recv>(exports, "recv");
  export_call<sendmsg>(exports, "sendmsg");
  export_call<send_stamped>(exports, "sendStamped");
  export_call<recvmsg>(exports, "recvmsg");
  export_call<set_reports>(exports, "setReports");
}

}  // namespace binding
