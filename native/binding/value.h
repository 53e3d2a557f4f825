#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "binding/environment.h"
#include "core/address.h"
#include "core/result.h"
#include "core/syscall.h"

namespace binding {

inline constexpr napi_type_tag kSocketTag = {0x5e1fc011ec700001, 0x736f636b65740001};

/// Reads and checks the arguments of one call. A wrong argument throws a TypeError that names the call and
/// the argument; a number is never truncated. After that the results of reads must not be used: see
/// `is_refused`.
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  Napi::Env env() const { return info_.Env(); }
  Environment& environment() const { return Environment::of(info_.Env()); }
  Napi::Value value(size_t index) const { return info_[index]; }
  bool is_null(size_t index) const { return info_[index].IsNull(); }

  /// True when an argument was wrong: a TypeError is thrown, and the call must return without acting.
  bool is_refused() const { return refused_; }

  /// Throws the TypeError for a wrong argument, but only for the first one of a call.
  void refuse(size_t index, const char* expected) {
    if (refused_) return;
    refused_ = true;
    const auto* call = static_cast<const char*>(info_.Data());
    const std::string message =
        std::string("native.") + call + ": argument " + std::to_string(index) + " must be " + expected;
    Napi::TypeError::New(info_.Env(), message).ThrowAsJavaScriptException();
  }

  Socket* read_socket(size_t index) {
    Socket* socket = to_socket(info_[index]);
    if (socket == nullptr) refuse(index, "a socket handle");
    return socket;
  }

  /// The first `count` handles of an array.
  std::vector<Socket*> read_sockets(size_t index, uint32_t count) {
    const Napi::Value value = info_[index];
    std::vector<Socket*> sockets;
    for (uint32_t i = 0; i < count && value.IsArray(); i++) {
      Socket* socket = to_socket(value.As<Napi::Array>().Get(i));
      if (socket == nullptr) break;
      sockets.push_back(socket);
    }
    if (sockets.size() < count) refuse(index, "an array of a socket handle each");
    return sockets;
  }

  /// The fd of a handle; -1 when the handle is empty, for which the kernel returns EBADF.
  int read_fd(size_t index) {
    const Socket* socket = read_socket(index);
    return socket == nullptr ? -1 : socket->fd();
  }

  /// A whole number from `low` to `high`; a double must represent both exactly.
  template <class T>
  T read_integer(size_t index, const char* expected, T low = std::numeric_limits<T>::min(),
                 T high = std::numeric_limits<T>::max()) {
    double number = std::numeric_limits<double>::quiet_NaN();
    const napi_status status = napi_get_value_double(info_.Env(), info_[index], &number);
    const bool is_within = number >= static_cast<double>(low) && number <= static_cast<double>(high);
    if (status == napi_ok && is_within && number == std::trunc(number)) {
      return static_cast<T>(number);
    }
    refuse(index, expected);
    return T{};
  }

  int read_family(size_t index) {
    const auto family = read_integer<int>(index, "the family 4 or 6", 4, 6);
    if (family == 5) refuse(index, "the family 4 or 6");
    return family;
  }

  uint16_t read_port(size_t index) { return read_integer<uint16_t>(index, "a port from 0 to 65535"); }

  uint32_t read_count(size_t index) {
    return read_integer<uint32_t>(index, "a whole number from 0 to 4294967295");
  }

  int read_int(size_t index) { return read_integer<int>(index, "a whole number of 32 bits"); }

  bool read_flag(size_t index) { return read_integer<int>(index, "0 or 1", 0, 1) != 0; }

  /// Two flags: whether to wait for reading, and for writing.
  core::Directions read_directions(size_t index) {
    return {.read = read_flag(index), .write = read_flag(index + 1)};
  }

  /// Two flags: MSG_PEEK, and MSG_OOB.
  core::Transfer read_transfer(size_t index) {
    return {.peek = read_flag(index), .urgent = read_flag(index + 1)};
  }

  core::Address read_address(size_t index) {
    const char* expected = "an address of 24 bytes, of family 4 or 6";
    const auto bytes = read_array<uint8_t>(index, napi_uint8_array, expected);
    core::Address address{};
    if (is_refused()) return address;
    if (bytes.size() == sizeof address) std::memcpy(&address, bytes.data(), sizeof address);
    if (address.family != 4 && address.family != 6) refuse(index, expected);
    return address;
  }

  /// Memory for one value of T. The call copies it byte by byte, because the memory may not be aligned for T.
  template <class T>
  std::span<uint8_t> read_memory_for(size_t index, const char* expected) {
    const auto bytes = read_array<uint8_t>(index, napi_uint8_array, expected);
    if (!is_refused() && bytes.size() != sizeof(T)) refuse(index, expected);
    return bytes;
  }

  template <class T>
  std::span<T> read_array(size_t index, napi_typedarray_type type, const char* expected) {
    const Napi::Value value = info_[index];
    if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type) {
      auto typed = value.As<Napi::TypedArrayOf<T>>();
      return {typed.Data(), typed.ElementLength()};
    }
    refuse(index, expected);
    return {};
  }

  std::string read_text(size_t index, const char* expected) {
    const Napi::Value value = info_[index];
    if (value.IsString()) return value.As<Napi::String>().Utf8Value();
    refuse(index, expected);
    return {};
  }

  /// The index of a text in the list of allowed texts.
  size_t read_choice(size_t index, std::span<const char* const> choices, const char* expected) {
    const std::string text = read_text(index, expected);
    for (size_t i = 0; i < choices.size(); i++) {
      if (text == choices[i]) return i;
    }
    refuse(index, expected);
    return 0;
  }

  Napi::Function read_function(size_t index) {
    const Napi::Value value = info_[index];
    if (value.IsFunction()) return value.As<Napi::Function>();
    refuse(index, "a function");
    return {};
  }

 private:
  /// The socket of a handle; null for any other value.
  static Socket* to_socket(const Napi::Value& value) {
    if (!value.IsExternal()) return nullptr;
    const auto external = value.As<Napi::External<Socket>>();
    return external.CheckTypeTag(&kSocketTag) ? external.Data() : nullptr;
  }

  const Napi::CallbackInfo& info_;
  bool refused_ = false;
};

/// The function that JavaScript calls: runs `Call` and converts its result. The type of `Call` ensures that
/// every call returns an integer.
template <core::Result (*Call)(Arguments&)>
Napi::Value run_call(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const core::Result result = Call(arguments);
  return arguments.is_refused() ? info.Env().Undefined() : Napi::Number::New(info.Env(), result);
}

/// Exports `Call` under `name`, which its TypeErrors also contain.
template <core::Result (*Call)(Arguments&)>
void export_call(Napi::Object exports, const char* name) {
  void* data = const_cast<char*>(name);
  exports.Set(name, Napi::Function::New<run_call<Call>>(exports.Env(), name, data));
}

/// An array of texts for JavaScript.
inline Napi::Array to_array(Napi::Env env, std::span<const char* const> names) {
  Napi::Array array = Napi::Array::New(env);
  uint32_t count = 0;
  for (const char* name : names) array.Set(count++, Napi::String::New(env, name));
  return array;
}

void export_socket(Napi::Env env, Napi::Object exports);
void export_descriptor(Napi::Object exports);
void export_foreign(Napi::Object exports);
void export_host(Napi::Env env, Napi::Object exports);
void export_option(Napi::Env env, Napi::Object exports);
void export_reactor(Napi::Object exports);
void export_message(Napi::Object exports);
void export_burst(Napi::Env env, Napi::Object exports);
void export_capture(Napi::Env env, Napi::Object exports);
void export_connects(Napi::Object exports);
void export_diag(Napi::Env env, Napi::Object exports);

}  // namespace binding
