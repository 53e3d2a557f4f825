#include "core/host.h"

#include <napi.h>

#include <memory>
#include <string>

#include "binding/value.h"
#include "core/diag.h"

namespace binding {

namespace {

/// A dump writes into `records` from its thread, so they must live until it ends.
struct DumpJob {
  core::DiagFilter filter;
  std::span<uint8_t> bytes;
  Napi::ObjectReference records;
  Napi::FunctionReference done;
};

core::Result run_dump(const DumpJob& job) {
  auto* records = reinterpret_cast<core::DiagRecord*>(job.bytes.data());
  return core::diag(job.filter, records, job.bytes.size() / sizeof(core::DiagRecord));
}

/// dump(namespaceFd, family, states, low, high, joinedOnly, details, records, done): diag() on a new thread,
/// in the namespace of the fd (-1: ours), then done(result).
core::Result dump(Arguments& arguments) {
  auto job = std::make_shared<DumpJob>();
  job->filter.namespace_fd = arguments.read_int(0);
  job->filter.family = arguments.read_family(1);
  job->filter.states = arguments.read_count(2);
  job->filter.low = arguments.read_port(3);
  job->filter.high = arguments.read_port(4);
  job->filter.joined_only = arguments.read_flag(5);
  job->filter.details = arguments.read_flag(6);
  job->bytes = arguments.read_array<uint8_t>(7, napi_uint8_array, "memory for records");
  const auto address = reinterpret_cast<uintptr_t>(job->bytes.data());
  if (address % alignof(core::DiagRecord) != 0) arguments.refuse(7, "memory that is aligned for records");
  const Napi::Function done = arguments.read_function(8);
  if (arguments.is_refused()) return 0;
  job->done = Napi::Persistent(done);
  job->records = Napi::Persistent(arguments.value(7).As<Napi::Object>());
  if (job->done.IsEmpty() || job->records.IsEmpty()) return -ENOMEM;
  const auto work = [job] { return run_dump(*job); };
  return arguments.environment().run(work, [job](Napi::Env env, core::Result result) {
    const napi_value argument = Napi::Number::New(env, result);
    // This call fails only while a worker is terminated; then nobody can receive the failure.
    static_cast<void>(napi_call_function(env, env.Global(), job->done.Value(), 1, &argument, nullptr));
  });
}

/// routeSource(namespaceFd, peer, local): writes the local address that a connect to the peer would get.
core::Result route_source(Arguments& arguments) {
  const int namespace_fd = arguments.read_int(0);
  const core::Address peer = arguments.read_address(1);
  const auto local = arguments.read_memory_for<core::Address>(2, "memory for an address");
  if (arguments.is_refused()) return 0;
  core::Address source{};
  const core::Result result =
      core::run_in_namespace(namespace_fd, [&] { return core::route_source(peer, &source); });
  if (result >= 0) std::memcpy(local.data(), &source, sizeof source);
  return result;
}

/// readInNamespace(namespaceFd, path, bytes, failed): reads a file of /proc, which shows the reading thread's
/// namespace, or writes which of the fileCalls failed.
core::Result read_in_namespace(Arguments& arguments) {
  const int namespace_fd = arguments.read_int(0);
  const std::string path = arguments.read_text(1, "a path");
  const auto bytes = arguments.read_array<uint8_t>(2, napi_uint8_array, "memory for the file");
  const auto failed = arguments.read_array<uint32_t>(3, napi_uint32_array, "memory for a call's number");
  if (failed.size() != 1) arguments.refuse(3, "memory for a call's number");
  if (arguments.is_refused()) return 0;
  auto call = core::FileCall::setns;
  const auto read = [&] { return core::read_file(path.c_str(), bytes.data(), bytes.size(), &call); };
  const core::Result result = core::run_in_namespace(namespace_fd, read);
  failed[0] = static_cast<uint32_t>(call);
  return result;
}

}  // namespace

void export_host(Napi::Env env, Napi::Object exports) {
  exports.Set("fileCalls", to_array(env, core::kFileCallNames));
  export_call<dump>(exports, "dump");
  export_call<route_source>(exports, "routeSource");
  export_call<read_in_namespace>(exports, "readInNamespace");
}

}  // namespace binding
