#include "core/option.h"

#include <napi.h>

#include "binding/value.h"
#include "core/syscall.h"

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
  if (core::has_bytes(*option)) {
    const auto bytes = arguments.read_array<uint8_t>(2, napi_uint8_array, "memory for bytes");
    return arguments.is_refused() ? 0 : core::get_bytes(fd, *option, bytes.data(), bytes.size());
  }
  const auto numbers = arguments.read_array<int64_t>(2, napi_bigint64_array, "memory for numbers");
  return arguments.is_refused() ? 0 : core::get_numbers(fd, *option, numbers.data(), numbers.size());
}

template <ReadFd Read>
core::Result setsockopt(Arguments& arguments) {
  const int fd = (arguments.*Read)(0);
  const core::Option* option = read_option(arguments, 1);
  if (arguments.is_refused()) return 0;
  if (core::has_bytes(*option)) {
    const auto bytes = arguments.read_array<uint8_t>(2, napi_uint8_array, "bytes");
    return arguments.is_refused() ? 0 : core::set_bytes(fd, *option, bytes.data(), bytes.size());
  }
  const auto numbers = arguments.read_array<int64_t>(2, napi_bigint64_array, "numbers");
  return arguments.is_refused() ? 0 : core::set_numbers(fd, *option, numbers.data(), numbers.size());
}

/// getsockopt(2) or setsockopt(2) of any level and number.
template <auto Call>
core::Result raw(Arguments& arguments) {
  const int fd = arguments.read_fd(0);
  const int level = arguments.read_int(1);
  const int number = arguments.read_int(2);
  const auto bytes = arguments.read_array<uint8_t>(3, napi_uint8_array, "bytes");
  return arguments.is_refused() ? 0 : Call(fd, level, number, bytes.data(), bytes.size());
}

Napi::Array words(Napi::Env env, const core::Option& option) {
  Napi::Array array = Napi::Array::New(env, option.words.size());
  for (uint32_t i = 0; i < option.words.size(); i++) {
    array.Set(i, Napi::String::New(env, option.words[i].name));
  }
  return array;
}

Napi::Object describe(Napi::Env env, const core::Option& option) {
  const bool is_text = core::has_bytes(option) || option.kind == core::Kind::word;
  Napi::Object row = Napi::Object::New(env);
  row["name"] = Napi::String::New(env, option.name);
  row["constant"] = Napi::String::New(env, option.constant);
  row["kind"] = Napi::String::New(env, core::kKindNames[static_cast<size_t>(option.kind)]);
  row["inBuild"] = Napi::Boolean::New(env, option.number != core::kAbsent);
  row["ipv6Only"] = Napi::Boolean::New(env, core::is_ipv6_only(option));
  row["access"] = Napi::String::New(env, core::kAccessNames[static_cast<size_t>(option.access)]);
  row["since"] = Napi::String::New(env, option.since);
  row["manual"] = Napi::String::New(env, option.manual);
  row["capability"] = Napi::String::New(env, option.capability);
  row["low"] = Napi::Number::New(env, static_cast<double>(option.low));
  row["high"] = Napi::Number::New(env, static_cast<double>(option.high));
  row["words"] = words(env, option);
  row["fields"] = to_array(env, option.fields == nullptr ? std::span<const char* const>() : option.fields());
  row["sample"] = is_text ? Napi::Value(Napi::String::New(env, option.sample_text))
                          : Napi::Value(Napi::BigInt::New(env, option.sample));
  row["readsBack"] = is_text ? Napi::Value(Napi::String::New(env, option.sample_text))
                             : Napi::Value(Napi::BigInt::New(env, option.reads_back));
  row["caveat"] = Napi::String::New(env, option.caveat);
  return row;
}

/// The numbers of all constants that this build knows, by name.
Napi::Object constants(Napi::Env env) {
  Napi::Object numbers = Napi::Object::New(env);
  const auto add = [&](const char* constant, int number) {
    if (number != core::kAbsent) numbers.Set(constant, Napi::Number::New(env, number));
  };
  for (const core::OtherOption& other : core::other_options()) add(other.constant, other.number);
  for (const core::Option& option : core::options()) add(option.constant, option.number);
  return numbers;
}

Napi::Object reasons(Napi::Env env) {
  Napi::Object texts = Napi::Object::New(env);
  for (const core::OtherOption& other : core::other_options()) {
    if (other.reason[0] != '\0') texts.Set(other.constant, Napi::String::New(env, other.reason));
  }
  return texts;
}

}  // namespace

void export_option(Napi::Env env, Napi::Object exports) {
  const auto rows = core::options();
  Napi::Array table = Napi::Array::New(env, rows.size());
  for (uint32_t i = 0; i < rows.size(); i++) table.Set(i, describe(env, rows[i]));
  exports.Set("options", table);
  exports.Set("constants", constants(env));
  exports.Set("otherOptions", reasons(env));
  exports.Set("tcpStates", to_array(env, core::tcp_states()));
  export_call<getsockopt<&Arguments::read_fd>>(exports, "getsockopt");
  export_call<setsockopt<&Arguments::read_fd>>(exports, "setsockopt");
  export_call<getsockopt<&Arguments::read_int>>(exports, "getsockoptOf");
  export_call<setsockopt<&Arguments::read_int>>(exports, "setsockoptOf");
  export_call<raw<core::getsockopt>>(exports, "rawGetsockopt");
  export_call<raw<core::setsockopt>>(exports, "rawSetsockopt");
}

}  // namespace binding
