#pragma once

#include <napi.h>

#include <cstring>
#include <span>
#include <string>

#include "binding/environment.h"
#include "core/address.h"
#include "core/result.h"

namespace binding {

inline constexpr napi_type_tag kSocketTag = {0x5e1fc011ec700001, 0x736f636b65740001};

/// Reads the arguments of one call. lib/native.ts has checked them for the user; here a wrong one is a bug
/// of ours, named and thrown, never a wild pointer.
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  Environment& environment() const { return Environment::of(info_.Env()); }

  Socket* socket(size_t index) {
    const Napi::Value value = info_[index];
    if (!value.IsExternal()) return missing<Socket*>(index, "a socket handle");
    const auto external = value.As<Napi::External<Socket>>();
    if (!external.CheckTypeTag(&kSocketTag)) return missing<Socket*>(index, "a socket handle");
    return external.Data();
  }

  /// The fd of a handle; -1 when it is closed, to which the kernel answers EBADF.
  int fd(size_t index) {
    const Socket* handle = socket(index);
    return handle == nullptr ? -1 : handle->fd;
  }

  core::Address address(size_t index) {
    const auto bytes = array<uint8_t>(index, napi_uint8_array, "an address");
    core::Address address{};
    if (bytes.size() == sizeof address) {
      std::memcpy(&address, bytes.data(), sizeof address);
    } else {
      missing<int>(index, "an address of 24 bytes");
    }
    return address;
  }

  /// Where a call writes an address.
  core::Address* address_out(size_t index) {
    const auto bytes = array<uint8_t>(index, napi_uint8_array, "room for an address");
    if (bytes.size() == sizeof(core::Address)) {
      return reinterpret_cast<core::Address*>(bytes.data());
    }
    return missing<core::Address*>(index, "room for an address of 24 bytes");
  }

  template <class T>
  std::span<T> array(size_t index, napi_typedarray_type type, const char* what) {
    const Napi::Value value = info_[index];
    if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type) {
      auto typed = value.As<Napi::TypedArrayOf<T>>();
      return {typed.Data(), typed.ElementLength()};
    }
    missing<int>(index, what);
    return {};
  }

  bool is_null(size_t index) const { return info_[index].IsNull(); }

  int64_t number(size_t index) {
    int64_t number = 0;
    if (napi_get_value_int64(info_.Env(), info_[index], &number) == napi_ok) return number;
    return missing<int64_t>(index, "a number");
  }

  std::string text(size_t index) {
    const Napi::Value value = info_[index];
    return value.IsString() ? value.As<Napi::String>().Utf8Value() : missing<std::string>(index, "a string");
  }

  Napi::Function function(size_t index) {
    const Napi::Value value = info_[index];
    return value.IsFunction() ? value.As<Napi::Function>() : missing<Napi::Function>(index, "a function");
  }

  Napi::Value value(size_t index) const { return info_[index]; }

  /// True when an argument was wrong; the call must then return without acting.
  bool wrong() const { return wrong_; }

  template <class T>
  T missing(size_t index, const char* what) {
    if (!wrong_) {
      const std::string message = "native: argument " + std::to_string(index) + " must be " + what;
      Napi::TypeError::New(info_.Env(), message).ThrowAsJavaScriptException();
    }
    wrong_ = true;
    return T{};
  }

  Napi::Value answer(core::Result result) const { return Napi::Number::New(info_.Env(), result); }
  Napi::Value nothing() const { return info_.Env().Undefined(); }

 private:
  const Napi::CallbackInfo& info_;
  bool wrong_ = false;
};

void export_socket(Napi::Env env, Napi::Object exports);
void export_descriptor(Napi::Env env, Napi::Object exports);
void export_option(Napi::Env env, Napi::Object exports);
void export_reactor(Napi::Env env, Napi::Object exports);
void export_burst(Napi::Env env, Napi::Object exports);
void export_capture(Napi::Env env, Napi::Object exports);
void export_diag(Napi::Env env, Napi::Object exports);

}  // namespace binding
