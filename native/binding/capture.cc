#include "core/capture.h"

#include <napi.h>

#include "binding/value.h"
#include "core/meet.h"
#include "core/packet.h"

namespace binding {

namespace {

/// captureOpen(handle, interface, onePort, otherPort, bufferBytes, failed): fills the handle, or writes which
/// of the captureCalls failed.
core::Result capture_open(Arguments& arguments) {
  Socket* capture = arguments.read_socket(0);
  const std::string interface = arguments.read_text(1, "the name of an interface");
  const uint16_t one = arguments.read_port(2);
  const uint16_t other = arguments.read_port(3);
  const int buffer_bytes = arguments.read_int(4);
  const auto failed = arguments.read_array<uint32_t>(5, napi_uint32_array, "memory for a call's number");
  if (failed.size() != 1) arguments.refuse(5, "memory for a call's number");
  if (arguments.is_refused()) return 0;
  if (!capture->is_empty()) return -EALREADY;
  core::CaptureCall call{};
  const core::Result result = core::capture_open(interface.c_str(), one, other, buffer_bytes, &call);
  failed[0] = static_cast<uint32_t>(call);
  return capture->fill(result);
}

/// captureRead(handle, bytes, facts): writes three words of facts for each packet. Returns their number.
core::Result capture_read(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const auto bytes = arguments.read_array<uint8_t>(1, napi_uint8_array, "memory for packets");
  const auto words = arguments.read_array<uint64_t>(2, napi_biguint64_array, "memory for facts");
  if (arguments.is_refused()) return 0;
  auto* facts = reinterpret_cast<core::PacketFacts*>(words.data());
  const size_t most = words.size_bytes() / sizeof *facts;
  return core::capture_read(fd, bytes.data(), bytes.size(), facts, most);
}

/// captureStatistics(handle, counters): writes the passed and the dropped packets since the last call.
core::Result capture_statistics(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const auto counters = arguments.read_array<uint32_t>(1, napi_uint32_array, "memory for two counters");
  if (counters.size() != 2) arguments.refuse(1, "memory for two counters");
  if (arguments.is_refused()) return 0;
  return core::packet_statistics(fd, &counters[0], &counters[1]);
}

/// meet(one, peerOfOne, other, peerOfOther, results): writes the result of each connect.
core::Result meet(Arguments& arguments) {
  core::Side one = {arguments.read_fd(0), arguments.read_address(1), 0};
  core::Side other = {arguments.read_fd(2), arguments.read_address(3), 0};
  const auto results = arguments.read_array<int32_t>(4, napi_int32_array, "memory for two results");
  if (results.size() != 2) arguments.refuse(4, "memory for two results");
  if (arguments.is_refused()) return 0;
  const core::Result started = core::meet(&one, &other);
  if (started < 0) return started;
  results[0] = one.result;
  results[1] = other.result;
  return 0;
}

}  // namespace

void export_capture(Napi::Env env, Napi::Object exports) {
  exports.Set("captureCalls", to_array(env, core::kCaptureCallNames));
  export_call<capture_open>(exports, "captureOpen");
  export_call<capture_read>(exports, "captureRead");
  export_call<capture_statistics>(exports, "captureStatistics");
  export_call<meet>(exports, "meet");
}

}  // namespace binding
