#include "core/diag.h"

#include <napi.h>

#include "binding/value.h"

namespace binding {

namespace {

/// diag(family, states, low, high, joinedOnly, details, records, namespaceFd): writes the records. Returns
/// how many sockets there are.
core::Result diag(Arguments& arguments) {
  core::DiagFilter filter{};
  filter.family = arguments.read_family(0);
  filter.states = arguments.read_count(1);
  filter.low = arguments.read_port(2);
  filter.high = arguments.read_port(3);
  filter.joined_only = arguments.read_flag(4);
  filter.details = arguments.read_flag(5);
  const auto bytes = arguments.read_array<uint8_t>(6, napi_uint8_array, "memory for records");
  filter.namespace_fd = arguments.read_int(7);
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  if (address % alignof(core::DiagRecord) != 0) arguments.refuse(6, "memory that is aligned for records");
  if (arguments.is_refused()) return 0;
  auto* records = reinterpret_cast<core::DiagRecord*>(bytes.data());
  return core::diag(filter, records, bytes.size() / sizeof(core::DiagRecord));
}

/// destroy(local, peer, identity, namespaceFd): `identity` is the interface and the two words of the cookie.
core::Result destroy(Arguments& arguments) {
  core::DiagIdentity identity{arguments.read_address(0), arguments.read_address(1), 0, {}};
  const auto words = arguments.read_array<uint32_t>(2, napi_uint32_array, "three words of identity");
  const int namespace_fd = arguments.read_int(3);
  if (words.size() != 3) arguments.refuse(2, "three words of identity");
  if (arguments.is_refused()) return 0;
  identity.interface = words[0];
  identity.cookie[0] = words[1];
  identity.cookie[1] = words[2];
  return core::destroy(identity, namespace_fd);
}

}  // namespace

void export_diag(Napi::Env env, Napi::Object exports) {
  exports.Set("diagRecordBytes", Napi::Number::New(env, sizeof(core::DiagRecord)));
  export_call<diag>(exports, "diag");
  export_call<destroy>(exports, "destroy");
}

}  // namespace binding
