#include "core/option.h"

#include <napi.h>

#include "binding/value.h"

namespace binding {

namespace {

const core::Option* row(Arguments* arguments, size_t index) {
  const int64_t number = arguments->number(index);
  const auto rows = core::options();
  if (number >= 0 && static_cast<size_t>(number) < rows.size()) return &rows[number];
  return arguments->missing<const core::Option*>(index, "a row of the option table");
}

Napi::Value getsockopt(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  const core::Option* option = row(&arguments, 1);
  if (arguments.wrong()) return arguments.nothing();
  if (option->kind == core::Kind::text) {
    const auto text = arguments.array<uint8_t>(2, napi_uint8_array, "room for text");
    if (arguments.wrong()) return arguments.nothing();
    auto* out = reinterpret_cast<char*>(text.data());
    return arguments.answer(core::get_text(fd, *option, out, text.size()));
  }
  const auto numbers = arguments.array<int64_t>(2, napi_bigint64_array, "room for numbers");
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(core::get_numbers(fd, *option, numbers.data(), numbers.size()));
}

Napi::Value setsockopt(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.fd(0);
  const core::Option* option = row(&arguments, 1);
  if (arguments.wrong()) return arguments.nothing();
  if (option->kind == core::Kind::text) {
    const auto text = arguments.array<uint8_t>(2, napi_uint8_array, "text");
    if (arguments.wrong()) return arguments.nothing();
    const auto* bytes = reinterpret_cast<const char*>(text.data());
    return arguments.answer(core::set_text(fd, *option, bytes, text.size()));
  }
  const auto numbers = arguments.array<int64_t>(2, napi_bigint64_array, "numbers");
  if (arguments.wrong()) return arguments.nothing();
  return arguments.answer(core::set_numbers(fd, *option, numbers.data(), numbers.size()));
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

Napi::Array names(Napi::Env env, std::span<const char* const> texts) {
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
  exports.Set("informationFields", names(env, core::information_fields()));
  exports.Set("tcpStates", names(env, core::tcp_states()));
  exports.Set("getsockopt", Napi::Function::New(env, getsockopt, "getsockopt"));
  exports.Set("setsockopt", Napi::Function::New(env, setsockopt, "setsockopt"));
}

}  // namespace binding
