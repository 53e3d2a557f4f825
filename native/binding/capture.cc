#include "core/capture.h"

#include <napi.h>

#include "binding/value.h"
#include "core/meet.h"
#include "core/packet.h"

namespace binding {

namespace {

/// captureOpen(handle, interface, onePort, otherPort, bufferBytes)
Napi::Value capture_open(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  Socket* capture = arguments.socket(0);
  const std::string interface = arguments.text(1);
  const auto one = static_cast<uint16_t>(arguments.number(2));
  const auto other = static_cast<uint16_t>(arguments.number(3));
  const auto buffer_bytes = static_cast<int>(arguments.number(4));
  if (arguments.wrong()) return arguments.nothing();
  const core::Result fd = core::capture_open(interface.c_str(), one, other, buffer_bytes);
  if (fd < 0) return arguments.answer(fd);
  capture->fd = fd;
  return arguments.answer(0);
}

/// captureRead(handle, bytes, facts): three words of facts for each packet.
Napi::Value capture_read(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  const auto bytes = arguments.array<uint8_t>(1, napi_uint8_array, "room for packets");
  const auto words = arguments.array<uint64_t>(2, napi_biguint64_array, "room for facts");
  if (arguments.wrong()) return arguments.nothing();
  auto* facts = reinterpret_cast<core::PacketFacts*>(words.data());
  const size_t most = words.size_bytes() / sizeof *facts;
  return arguments.answer(core::capture_read(fd, bytes.data(), bytes.size(), facts, most));
}

/// captureStatistics(handle, counters): passed and dropped since the last call.
Napi::Value capture_statistics(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  const auto counters = arguments.array<uint32_t>(1, napi_uint32_array, "room for two counters");
  if (counters.size() != 2) arguments.missing<int>(1, "room for two counters");
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(core::packet_statistics(fd, &counters[0], &counters[1]));
}

/// meet(one, peerOfOne, other, peerOfOther, answers)
Napi::Value meet(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  core::Side one = {arguments.fd(0), arguments.address(1), 0};
  core::Side other = {arguments.fd(2), arguments.address(3), 0};
  const auto answers = arguments.array<int32_t>(4, napi_int32_array, "room for two answers");
  if (answers.size() != 2) arguments.missing<int>(4, "room for two answers");
  if (arguments.wrong()) return arguments.nothing();
  core::meet(&one, &other);
  answers[0] = one.answer;
  answers[1] = other.answer;
  return arguments.answer(0);
}

}  // namespace

void export_capture(Napi::Env env, Napi::Object exports) {
  exports.Set("captureOpen", Napi::Function::New(env, capture_open, "captureOpen"));
  exports.Set("captureRead", Napi::Function::New(env, capture_read, "captureRead"));
  exports.Set("captureStatistics", Napi::Function::New(env, capture_statistics, "captureStatistics"));
  exports.Set("meet", Napi::Function::New(env, meet, "meet"));
}

}  // namespace binding
