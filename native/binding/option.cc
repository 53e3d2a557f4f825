#include "core/option.h"

#include <napi.h>

#include "binding/value.h"

namespace binding {

namespace {

const core::Option* read_option(Arguments& arguments, size_t index) {
  const auto rows = core::options();
  const auto last = static_cast<uint32_t>(rows.size() - 1);
  return &rows[arguments.read_integer<uint32_t>(index, "a row of the option table", 0, last)];
}

/// Reads the fd of a handle (read_fd), or one that somebody else owns (read_int).
using ReadFd = int (Arguments::*)(size_t);

template <ReadFd Read>
core::Result getsockopt(Arguments& arguments) {
  const int fd = (arguments.*Read)(0);
  const core::Option* option = read_option(arguments, 1);
  if (arguments.is_refused()) return 0;
  if (option->kind == core::Kind::text) {
    const auto text = arguments.read_array<uint8_t>(2, napi_uint8_array, "memory for text");
    if (arguments.is_refused()) return 0;
    return core::get_text(fd, *option, reinterpret_cast<char*>(text.data()), text.size());
  }
  const auto numbers = arguments.read_array<int64_t>(2, napi_bigint64_array, "memory for numbers");
  return arguments.is_refused() ? 0 : core::get_numbers(fd, *option, numbers.data(), numbers.size());
}

template <ReadFd Read>
core::Result setsockopt(Arguments& arguments) {
  const int fd = (arguments.*Read)(0);
  const core::Option* option = read_option(arguments, 1);
  if (arguments.is_refused()) return 0;
  if (option->kind == core::Kind::text) {
    const auto text = arguments.read_array<uint8_t>(2, napi_uint8_array, "text");
    if (arguments.is_refused()) return 0;
    return core::set_text(fd, *option, reinterpret_cast<const char*>(text.data()), text.size());
  }
  const auto numbers = arguments.read_array<int64_t>(2, napi_bigint64_array, "numbers");
  return arguments.is_refused() ? 0 : core::set_numbers(fd, *option, numbers.data(), numbers.size());
}

Napi::Object describe(Napi::Env env, const core::Option& option) {
  const bool is_text = option.kind == core::Kind::text;
  Napi::Object row = Napi::Object::New(env);
  row["name"] = Napi::String::New(env, option.name);
  row["constant"] = Napi::String::New(env, option.constant);
  row["kind"] = Napi::String::New(env, core::kKindNames[static_cast<size_t>(option.kind)]);
  row["inBuild"] = Napi::Boolean::New(env, option.number != core::kAbsent);
  row["ipv6Only"] = Napi::Boolean::New(env, option.ipv6_only);
  row["readOnly"] = Napi::Boolean::New(env, option.read_only);
  row["since"] = Napi::String::New(env, option.since);
  row["manual"] = Napi::String::New(env, option.manual);
  row["capability"] = Napi::String::New(env, option.capability);
  row["sample"] = is_text ? Napi::Value(Napi::String::New(env, option.sample_text))
                          : Napi::Value(Napi::BigInt::New(env, option.sample));
  row["readsBack"] = is_text ? Napi::Value(Napi::String::New(env, option.sample_text))
                             : Napi::Value(Napi::BigInt::New(env, option.reads_back));
  row["caveat"] = Napi::String::New(env, option.caveat);
  return row;
}

Napi::Array to_array(Napi::Env env, std::span<const char* const> texts) {
  Napi::Array array = Napi::Array::New(env, texts.size());
  for (uint32_t i = 0; i < texts.size(); i++) array.Set(i, Napi::String::New(env, texts[i]));
  return array;
}

}  // namespace

void export_option(Napi::Env env, Napi::Object exports) {
  const auto rows = core::options();
  Napi::Array table = Napi::Array::New(env, rows.size());
  for (uint32_t i = 0; i < rows.size(); i++) table.Set(i, describe(env, rows[i]));
  exports.Set("options", table);
  exports.Set("informationFields", to_array(env, core::information_fields()));
  exports.Set("tcpStates", to_array(env, core::tcp_states()));
  export_call<getsockopt<&Arguments::read_fd>>(exports, "getsockopt");
  export_call<setsockopt<&Arguments::read_fd>>(exports, "setsockopt");
  export_call<getsockopt<&Arguments::read_int>>(exports, "getsockoptOf");
  export_call<setsockopt<&Arguments::read_int>>(exports, "setsockoptOf");
}

}  // namespace binding
