#include "core/home.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "core/host.h"
#include "core/syscall.h"

namespace core {

namespace {

constexpr size_t kMostBytes = 4096;

/// The unspecified address means this host.
bool is_same_host(const Address& local, const Address& peer) {
  const auto is_zero = [](uint8_t byte) { return byte == 0; };
  return std::ranges::equal(local.host, peer.host) || std::ranges::all_of(peer.host, is_zero);
}

/// The next word of a line; the rest stays in `line`. Empty at the end.
std::string_view take_word(std::string_view* line) {
  const size_t space = line->find(' ');
  const std::string_view word = line->substr(0, space);
  line->remove_prefix(space == std::string_view::npos ? line->size() : space + 1);
  return word;
}

/// The line after the next "Tcp:"; the text after it stays in `text`.
std::string_view take_tcp_line(std::string_view* text) {
  const size_t begin = text->find("\nTcp: ");
  if (begin == std::string_view::npos) return {};
  text->remove_prefix(begin + 1);
  return text->substr(0, text->find('\n'));
}

/// OutRsts of /proc/net/snmp: how many resets TCP has sent in this network namespace; -1 when it is not
/// there.
int64_t count_resets(int fd) {
  std::array<char, kMostBytes> bytes;
  const ssize_t size = fd < 0 ? -1 : ::pread(fd, bytes.data(), bytes.size(), 0);
  if (size <= 0) return -1;
  std::string_view text(bytes.data(), static_cast<size_t>(size));
  std::string_view names = take_tcp_line(&text);
  std::string_view values = take_tcp_line(&text);
  while (!names.empty() && !values.empty()) {
    const std::string_view name = take_word(&names);
    const std::string_view value = take_word(&values);
    if (name != "OutRsts") continue;
    int64_t count = -1;
    std::from_chars(value.data(), value.data() + value.size(), count);
    return count;
  }
  return -1;
}

}  // namespace

Home::Home(const Address& peer, bool trusts_bind)
    : peer_(peer),
      trusts_bind_(trusts_bind),
      counters_fd_(or_errno(::open("/proc/thread-self/net/snmp", O_RDONLY | O_CLOEXEC))),
      resets_(count_resets(counters_fd_)) {}

Home::~Home() {
  if (counters_fd_ >= 0) close(counters_fd_);
}

Result Home::check(uint32_t refusals) {
  const Result is_own = has_peer();
  if (is_own < 0) return is_own;
  if (is_own == 0) return static_cast<Result>(Destination::moved);
  const int64_t resets = count_resets(counters_fd_);
  // Whoever refuses a connect by TCP sends a reset, and Linux counts it before connect(2) returns.
  const bool is_counted = resets >= 0 && resets_ >= 0;
  const bool is_ours = !is_counted || resets - resets_ >= refusals - refusals_;
  resets_ = resets;
  refusals_ = refusals;
  return static_cast<Result>(is_ours ? Destination::host : Destination::elsewhere);
}

/// bind(2), or the route of a connect: addresses of local routes (AnyIP) can be connected to, and over IPv6
/// not bound to. 1, 0, or -errno where no socket can be created.
Result Home::has_peer() const {
  const Result fd = datagram_socket(peer_.family);
  if (fd < 0) return fd;
  Address local;
  const bool is_bound = trusts_bind_ && bind(fd, with_port(peer_, 0)) >= 0;
  const bool is_own =
      is_bound || (source_address(fd, with_port(peer_, kAnyPort), &local) >= 0 && is_same_host(local, peer_));
  close(fd);
  return is_own ? 1 : 0;
}

}  // namespace core
