#include "core/diag.h"

#include <napi.h>

#include "binding/value.h"

namespace binding {

namespace {

/// diag(family, states, low, high, joinedOnly, details, records).
Napi::Value diag(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  core::DiagFilter filter{};
  filter.family = static_cast<int>(arguments.number(0));
  filter.states = static_cast<uint32_t>(arguments.number(1));
  filter.low = static_cast<uint16_t>(arguments.number(2));
  filter.high = static_cast<uint16_t>(arguments.number(3));
  filter.joined_only = arguments.number(4) != 0;
  filter.details = arguments.number(5) != 0;
  const auto bytes = arguments.array<uint8_t>(6, napi_uint8_array, "room for records");
  if (arguments.wrong()) return arguments.nothing();
  auto* records = reinterpret_cast<core::DiagRecord*>(bytes.data());
  return arguments.answer(core::diag(filter, records, bytes.size() / sizeof(core::DiagRecord)));
}

}  // namespace

void export_diag(Napi::Env env, Napi::Object exports) {
  exports.Set("diagRecordBytes", Napi::Number::New(env, sizeof(core::DiagRecord)));
  exports.Set("diag", Napi::Function::New(env, diag, "diag"));
}

}  // namespace binding
