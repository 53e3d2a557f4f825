#include <napi.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <vector>

#include "binding/value.h"
#include "core/checked.h"
#include "core/syscall.h"

namespace binding {

namespace {

/// What JavaScript writes for one connect: how many of the ranges to try, and the bounds of each.
struct Ranges {
  uint16_t count;
  core::PortBounds bounds[10];
};
constexpr size_t kRangesWords = sizeof(Ranges) / sizeof(uint16_t);
constexpr double kNsPerMs = 1e6;

/// connects(handles, count, peers, ranges, results, locals, elapsed): connect_checked() on each of the first
/// `count` handles; an empty one gets a socket first. Returns how many were made; -errno of socket(2) when it
/// was none.
core::Result connects(Arguments& arguments) {
  const uint32_t count = arguments.read_count(1);
  const std::vector<Socket*> sockets = arguments.read_sockets(0, count);
  const auto peers = arguments.read_array<uint8_t>(2, napi_uint8_array, "an address for each");
  const auto words = arguments.read_array<uint16_t>(3, napi_uint16_array, "ranges for each");
  const auto results = arguments.read_array<int32_t>(4, napi_int32_array, "room for a result each");
  const auto locals = arguments.read_array<uint8_t>(5, napi_uint8_array, "room for an address each");
  const auto elapsed = arguments.read_array<double>(6, napi_float64_array, "room for a time each");
  if (peers.size() < count * sizeof(core::Address)) arguments.refuse(2, "an address for each");
  if (words.size() < count * kRangesWords) arguments.refuse(3, "ranges for each");
  if (results.size() < count) arguments.refuse(4, "room for a result each");
  if (locals.size() < count * sizeof(core::Address)) arguments.refuse(5, "room for an address each");
  if (elapsed.size() < count) arguments.refuse(6, "room for a time each");
  if (arguments.is_refused()) return 0;
  for (uint32_t i = 0; i < count; i++) {
    core::Address peer;
    Ranges ranges;
    std::memcpy(&peer, peers.data() + i * sizeof peer, sizeof peer);
    std::memcpy(&ranges, words.data() + i * kRangesWords, sizeof ranges);
    const int64_t started_ns = core::monotonic_ns();
    if (sockets[i]->is_empty()) {
      const core::Result filled = sockets[i]->fill(core::socket(peer.family, core::Blocking::no));
      if (filled < 0) return i == 0 ? filled : static_cast<core::Result>(i);
    }
    core::Address local{};
    const auto tried =
        std::span(ranges.bounds).first(std::min(size_t{ranges.count}, std::size(ranges.bounds)));
    results[i] = core::connect_checked(sockets[i]->fd(), peer, tried, &local);
    std::memcpy(locals.data() + i * sizeof local, &local, sizeof local);
    elapsed[i] = static_cast<double>(core::monotonic_ns() - started_ns) / kNsPerMs;
  }
  return static_cast<core::Result>(count);
}

}  // namespace

void export_connects(Napi::Object exports) { export_call<connects>(exports, "connects"); }

}  // namespace binding
