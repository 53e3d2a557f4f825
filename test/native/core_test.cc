// The tests of the core, without Node: one function per behaviour, run under the sanitizers.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/address.h"
#include "core/burst.h"
#include "core/capture.h"
#include "core/checked.h"
#include "core/diag.h"
#include "core/foreign.h"
#include "core/home.h"
#include "core/host.h"
#include "core/joined.h"
#include "core/meet.h"
#include "core/message.h"
#include "core/option.h"
#include "core/packet.h"
#include "core/reactor.h"
#include "core/remote.h"
#include "core/syscall.h"
#include "core/thread.h"

namespace {

#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)

core::Address loopback(int family, uint16_t port) {
  core::Address address{};
  address.family = static_cast<uint8_t>(family);
  address.port = htons(port);
  if (family == 4) {
    address.host[0] = 127;
    address.host[3] = 1;
  } else {
    address.host[15] = 1;
  }
  return address;
}

/// An address on loopback with a port that was free a moment ago.
core::Address find_dead_peer(int family) {
  const int fd = core::socket(family, core::Blocking::no);
  CHECK(fd >= 0);
  CHECK(core::bind(fd, loopback(family, 0)) == 0);
  core::Address local{};
  CHECK(core::getsockname(fd, &local) == 0);
  CHECK(core::close(fd) == 0);
  return local;
}

/// Port 1 (tcpmux), where nothing listens. No ephemeral range includes it, so that no connect to it
/// self-connects.
core::Address refusing_peer(int family) { return loopback(family, 1); }

bool is_same(const core::Address& one, const core::Address& other) {
  return std::memcmp(&one, &other, sizeof one) == 0;
}

void an_address_converts_to_sockaddr_and_back() {
  for (const int family : {4, 6}) {
    core::Address address = loopback(family, 0x1234);
    if (family == 6) address.scope = htonl(7);
    sockaddr_storage storage;
    CHECK(core::to_sockaddr(address, &storage) > 0);
    core::Address back;
    CHECK(core::from_sockaddr(storage, &back));
    CHECK(is_same(address, back));
    CHECK(core::port_of(core::with_port(back, 77)) == 77);
  }
}

void from_sockaddr_rejects_another_family() {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  core::Address address;
  CHECK(!core::from_sockaddr(storage, &address));
}

void a_socket_bound_to_its_peer_connects_to_itself() {
  for (const int family : {4, 6}) {
    const core::Address self = find_dead_peer(family);
    const int fd = core::socket(family, core::Blocking::no);
    CHECK(core::bind(fd, self) == 0);
    // A nonblocking connect(2) returns EINPROGRESS, although the handshake with itself has ended by then.
    CHECK(core::is_in_progress(core::connect(fd, self)) && core::take_error(fd) == 0);
    core::Address local;
    core::Address peer;
    CHECK(core::getsockname(fd, &local) == 0 && core::getpeername(fd, &peer) == 0);
    CHECK(is_same(local, peer) && is_same(local, self));
    const char word[] = "self";
    char back[sizeof word] = {};
    CHECK(core::send(fd, word, sizeof word) == sizeof word);
    CHECK(core::recv(fd, back, sizeof back) == sizeof word && std::strcmp(word, back) == 0);
    CHECK(core::reset(fd) == 0);
  }
}

/// A socket that is joined to itself at `self`.
int open_joined(const core::Address& self) {
  const int fd = core::socket(self.family, core::Blocking::no);
  CHECK(core::bind(fd, self) == 0);
  CHECK(core::is_in_progress(core::connect(fd, self)) && core::take_error(fd) == 0);
  return fd;
}

/// bind(2) of a new socket, which is then closed.
core::Result try_bind(const core::Address& local) {
  const int fd = core::socket(local.family, core::Blocking::no);
  const core::Result result = core::bind(fd, local);
  CHECK(core::close(fd) == 0);
  return result;
}

void connect_checked_returns_how_the_connect_ended() {
  for (const int family : {4, 6}) {
    const int listener = core::socket(family, core::Blocking::no);
    CHECK(core::bind(listener, loopback(family, 0)) == 0 && core::listen(listener, 8) == 0);
    core::Address peer;
    CHECK(core::getsockname(listener, &peer) == 0);
    core::Address local{};
    core::Address expected;
    const int connected = core::socket(family, core::Blocking::no);
    CHECK(core::connect_checked(connected, peer, {}, &local) == 0 && core::is_joined(connected) == 0);
    CHECK(core::getsockname(connected, &expected) == 0 && is_same(local, expected));
    const int refused = core::socket(family, core::Blocking::no);
    CHECK(core::connect_checked(refused, refusing_peer(family), {}, &local) == -ECONNREFUSED);
    const core::Address self = find_dead_peer(family);
    const int joined = core::socket(family, core::Blocking::no);
    CHECK(core::bind(joined, self) == 0);
    CHECK(core::connect_checked(joined, self, {}, &local) == core::kJoined && is_same(local, self));
    for (const int fd : {connected, refused, joined, listener}) CHECK(core::reset(fd) == 0);
  }
}

void connect_progress_tells_how_the_connect_stands() {
  for (const int family : {4, 6}) {
    const int listener = core::socket(family, core::Blocking::no);
    CHECK(core::bind(listener, loopback(family, 0)) == 0 && core::listen(listener, 8) == 0);
    core::Address peer;
    CHECK(core::getsockname(listener, &peer) == 0);
    const int connected = core::socket(family, core::Blocking::no);
    CHECK(core::connect_progress(connected) == core::kInProgress);
    CHECK(core::begin_connect(connected, peer) == 1);
#ifdef __linux__
    CHECK(core::connect_progress(connected) == core::kConnectedApart);
#endif
    CHECK(core::named_progress(connected) == 0);
    const int refused = core::socket(family, core::Blocking::no);
    CHECK(core::begin_connect(refused, refusing_peer(family)) == 1);
    CHECK(core::connect_progress(refused) == -ECONNREFUSED);
    CHECK(core::connect_progress(refused) == core::kInProgress);  // The error is reported once.
    CHECK(core::begin_connect(refused, refusing_peer(family)) == -ECONNABORTED);
    CHECK(core::begin_connect(refused, refusing_peer(family)) == 1);
    CHECK(core::named_progress(refused) == -ECONNREFUSED &&
          core::named_progress(refused) == core::kInProgress);
    const core::Address self = find_dead_peer(family);
    const int joined = core::socket(family, core::Blocking::no);
    CHECK(core::bind(joined, self) == 0 && core::begin_connect(joined, self) >= 0);
    CHECK(core::connect_progress(joined) == 0);  // Not proven apart, for it is not.
    for (const int fd : {connected, refused, joined, listener}) CHECK(core::reset(fd) == 0);
  }
}

void connect_checked_uses_the_next_range_when_the_first_is_exhausted() {
  const int listener = core::socket(4, core::Blocking::no);
  CHECK(core::bind(listener, loopback(4, 0)) == 0 && core::listen(listener, 8) == 0);
  core::Address peer;
  CHECK(core::getsockname(listener, &peer) == 0);
  const uint16_t taken = core::port_of(peer);
  const uint16_t free = core::port_of(find_dead_peer(4));
  const core::PortBounds ranges[] = {{taken, taken}, {free, free}};
  core::Address local{};
  const int fd = core::socket(4, core::Blocking::no);
  const core::Result result = core::connect_checked(fd, peer, ranges, &local);
  if (result != -ENOPROTOOPT) {  // Before Linux 6.3.
    CHECK(result == 0 && core::port_of(local) == free);
  }
  CHECK(core::reset(fd) == 0 && core::close(listener) == 0);
}

void close_checked_leaves_no_TIME_WAIT_of_a_socket_joined_to_itself() {
  for (const int family : {4, 6}) {
    const core::Address self = find_dead_peer(family);
    CHECK(core::close_checked(open_joined(self)) == 0 && try_bind(self) == 0);
    // The control: close(2) alone keeps the port.
    CHECK(core::close(open_joined(self)) == 0 && try_bind(self) == -EADDRINUSE);
  }
  CHECK(core::close_checked(-1) == -EBADF);
}

void reset_at_close_if_joined_makes_a_plain_close_leave_no_TIME_WAIT() {
  for (const int family : {4, 6}) {
    const core::Address self = find_dead_peer(family);
    const int fd = open_joined(self);
    CHECK(core::reset_at_close_if_joined(fd) == 1 && core::close(fd) == 0 && try_bind(self) == 0);
  }
  CHECK(core::reset_at_close_if_joined(-1) == -EBADF);
}

void end_joined_gives_the_reader_all_bytes_then_the_end_and_leaves_no_TIME_WAIT() {
  for (const int family : {4, 6}) {
    const core::Address self = find_dead_peer(family);
    const int fd = open_joined(self);
    char byte = 'a';
    CHECK(core::send(fd, &byte, 1) == 1 && core::end_joined(fd) == 1);
    CHECK(core::recv(fd, &byte, 1) == 1 && core::recv(fd, &byte, 1) == 0);
    CHECK(core::close(fd) == 0 && try_bind(self) == 0);
    // The control: a FIN keeps the port, whatever follows.
    const int other = open_joined(self);
    CHECK(core::shutdown(other, core::How::write) == 0 && core::reset(other) == 0);
    CHECK(try_bind(self) == -EADDRINUSE);
  }
}

void end_joined_waits_for_bytes_on_their_way() {
  const core::Address self = find_dead_peer(4);
  const int fd = open_joined(self);
  static char bytes[1 << 16];
  size_t sent = 0;
  for (core::Result part = 0; (part = core::send(fd, bytes, sizeof bytes)) > 0;)
    sent += static_cast<size_t>(part);
  // The receive queue is full, and the rest in the send queue.
  CHECK(core::end_joined(fd) == 0);
  size_t received = 0;
  for (core::Result part = 0; received < sent; received += static_cast<size_t>(part)) {
    part = core::recv(fd, bytes, sizeof bytes);
    CHECK(part > 0);
    if (part <= 0) break;
  }
  CHECK(core::end_joined(fd) == 1 && core::recv(fd, bytes, 1) == 0);
  CHECK(core::close(fd) == 0 && try_bind(self) == 0 && core::end_joined(-1) == -EBADF);
}

void an_error_is_negative_errno() {
  CHECK(core::bind(-1, loopback(4, 0)) == -EBADF);
  CHECK(core::close(-1) == -EBADF);
  core::Address none;
  const int fd = core::socket(4, core::Blocking::no);
  CHECK(core::getpeername(fd, &none) == -ENOTCONN);
  CHECK(core::accept(fd) == -EINVAL);
  CHECK(core::close(fd) == 0);
}

void take_error_clears_the_error() {
  const int fd = core::socket(4, core::Blocking::no);
  CHECK(core::is_in_progress(core::connect(fd, refusing_peer(4))));
  CHECK(core::take_error(fd) == ECONNREFUSED);
  CHECK(core::take_error(fd) == 0);
  CHECK(core::close(fd) == 0);
}

void sockets_are_nonblocking_and_close_on_exec() {
  const int fd = core::socket(6, core::Blocking::no);
  CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(core::close(fd) == 0);
}

const core::Option& option(const char* name) {
  for (const core::Option& row : core::options()) {
    if (std::strcmp(row.name, name) == 0) return row;
  }
  std::abort();
}

void an_inherited_socket_is_checked_and_set_nonblocking_and_close_on_exec() {
  for (const int domain : {AF_INET, AF_INET6}) {
    const int fd = ::socket(domain, SOCK_STREAM, 0);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0);
    CHECK(core::check_inherited(fd) == 0);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    core::close(fd);
    CHECK(core::check_inherited(fd) == -EBADF);
  }
  const int udp = ::socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(core::check_inherited(udp) == -EPROTONOSUPPORT);
  CHECK((fcntl(udp, F_GETFD) & FD_CLOEXEC) == 0);
  core::close(udp);
}

void a_shelved_descriptor_is_claimed_once_by_any_thread() {
  const int ticket = core::shelve(4711);
  std::atomic<int> winners = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([&] { winners += core::claim(ticket) == 4711 ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(winners == 1);
  CHECK(core::claim(ticket) == -ENOENT);
}

void option_names_and_constants_are_unique() {
  std::vector<std::string> seen;
  for (const core::Option& row : core::options()) {
    for (const char* word : {row.name, row.constant}) {
      CHECK(std::find(seen.begin(), seen.end(), word) == seen.end());
      seen.emplace_back(word);
    }
  }
}

void an_absent_option_is_ENOPROTOOPT() {
  core::Option absent = option("noDelay");
  absent.number = core::kAbsent;
  int64_t values[2] = {1, 0};
  uint8_t text[8];
  CHECK(core::get_numbers(0, absent, values, 2) == -ENOPROTOOPT);
  CHECK(core::set_numbers(0, absent, values, 2) == -ENOPROTOOPT);
  CHECK(core::get_bytes(0, absent, text, sizeof text) == -ENOPROTOOPT);
  CHECK(core::set_bytes(0, absent, text, sizeof text) == -ENOPROTOOPT);
}

void too_little_memory_is_EINVAL_and_not_a_crash() {
  int64_t one = 0;
  CHECK(core::get_numbers(0, option("lingerSeconds"), &one, 1) == -EINVAL);
  CHECK(core::set_numbers(0, option("lingerSeconds"), &one, 1) == -EINVAL);
}

void tcp_info_returns_the_state() {
  const int fd = core::socket(4, core::Blocking::no);
  int64_t values[128];
  const core::Result count = core::get_numbers(fd, option("information"), values, 128);
  CHECK(count > 0 && static_cast<size_t>(count) == option("information").fields().size());
  CHECK(std::strcmp(core::tcp_states()[static_cast<size_t>(values[0])], "CLOSED") == 0);
  CHECK(core::get_numbers(fd, option("information"), values, 2) == -EINVAL);
  CHECK(core::close(fd) == 0);
}

void bytes_of_a_wrong_length_are_EINVAL_and_not_a_crash() {
  const int fd = core::socket(4, core::Blocking::no);
  uint8_t bytes[24 + core::kMostKeyBytes + 1] = {};
  CHECK(core::set_bytes(fd, option("md5Signature"), bytes, 23) == -EINVAL);
  CHECK(core::set_bytes(fd, option("md5Signature"), bytes, sizeof bytes) == -EINVAL);
  CHECK(core::set_bytes(fd, option("filter"), bytes, 7) == -EINVAL);
  // Linux of 2026 asks for CAP_NET_ADMIN first.
  const core::Result empty = core::set_bytes(fd, option("filter"), bytes, 0);
  CHECK(empty == -EINVAL || empty == -EPERM);
  int64_t beyond[2] = {64, 0};
  CHECK(core::set_numbers(fd, option("pathMtuDiscovery"), beyond, 2) == -EINVAL);
  CHECK(core::close(fd) == 0);
}

/// A reactor, and the tokens that it has reported.
class TestReactor {
 public:
  TestReactor()
      : reactor([this](core::Result result, const std::vector<uint64_t>& tokens) {
          const std::lock_guard lock(mutex_);
          if (result < 0) failure_ = result;
          tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
          changed_.notify_all();
        }) {
    CHECK(reactor.start() == 0);
  }

  std::vector<uint64_t> wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    CHECK(changed_.wait_for(lock, std::chrono::seconds(30), [&] { return tokens_.size() >= count; }));
    return tokens_;
  }

  core::Result wait_for_failure() {
    std::unique_lock lock(mutex_);
    CHECK(changed_.wait_for(lock, std::chrono::seconds(30), [&] { return failure_ < 0; }));
    return failure_;
  }

  core::Reactor reactor;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  core::Result failure_ = 0;
  std::vector<uint64_t> tokens_;
};

void the_reactor_reports_each_ended_connect_once() {
  TestReactor watcher;
  std::vector<int> fds;
  for (uint64_t token = 1; token <= 100; token++) {
    const int fd = core::socket(4, core::Blocking::no);
    core::connect(fd, refusing_peer(4));
    CHECK(watcher.reactor.watch(fd, {.write = true}, token) == 0);
    fds.push_back(fd);
  }
  std::vector<uint64_t> tokens = watcher.wait_for(fds.size());
  std::sort(tokens.begin(), tokens.end());
  for (uint64_t token = 1; token <= 100; token++) CHECK(tokens[token - 1] == token);
  CHECK(watcher.reactor.watch(fds[0], {.write = true}, 1000) == 0);
  CHECK(watcher.wait_for(fds.size() + 1).back() == 1000);
  for (const int fd : fds) {
    CHECK(watcher.reactor.unwatch(fd) == 0);
    CHECK(core::close(fd) == 0);
  }
}

/// Two sockets connected to each other over loopback.
struct Pair {
  explicit Pair(int family) {
    const int listener = core::socket(family, core::Blocking::no);
    core::Address local{};
    CHECK(core::bind(listener, loopback(family, 0)) == 0 && core::listen(listener, 1) == 0);
    CHECK(core::getsockname(listener, &local) == 0);
    one = core::socket(family, core::Blocking::yes);
    CHECK(core::connect(one, local) == 0 && core::set_nonblocking(one) == 0);
    other = core::accept(listener);
    CHECK(other >= 0 && core::close(listener) == 0);
  }
  ~Pair() { CHECK(core::reset(one) == 0 && core::reset(other) == 0); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  int one;
  int other;
};

void the_reactor_reports_each_direction_and_each_change() {
  TestReactor watcher;
  const Pair pair(4);
  CHECK(watcher.reactor.watch(pair.one, {.read = true}, 1) == 0);
  CHECK(watcher.reactor.watch(pair.other, {.read = true, .write = true}, 2) == 0);
  CHECK(watcher.wait_for(1).back() == 2);
  CHECK(core::poll(pair.one, {.read = true}) == 0 && core::poll(pair.one, {.write = true}) == 1);
  CHECK(core::send(pair.other, "a", 1) == 1);
  CHECK(watcher.wait_for(2).back() == 1);
  CHECK(core::poll(pair.one, {.read = true}) == 1);
  // The byte is still there: only another change is reported.
  CHECK(core::send(pair.other, "b", 1) == 1);
  CHECK(watcher.wait_for(3).back() == 1);
  CHECK(watcher.reactor.unwatch(pair.one) == 0 && watcher.reactor.unwatch(pair.other) == 0);
  CHECK(core::poll(-1, {.read = true}) == 0);  // poll(2) ignores a negative fd.
}

void buffers_are_sent_in_order_and_no_more_than_the_kernel_takes() {
  const Pair pair(6);
  const std::array<uint8_t, 3> bytes = {'a', 'b', 'c'};
  const std::vector<std::span<const uint8_t>> two = {{bytes.data() + 1, 2}, {bytes.data(), 1}};
  CHECK(core::sendmsg(pair.one, two) == 3);
  char back[4] = {};
  CHECK(core::recv(pair.other, back, 3, {.peek = true}) == 3 && std::strcmp(back, "bca") == 0);
  CHECK(core::recv(pair.other, back, 3) == 3);
  const std::vector<std::span<const uint8_t>> many(2000, {bytes.data(), 1});
  CHECK(core::sendmsg(pair.one, many) == 1024);
  CHECK(core::sendmsg(pair.one, {}) == 0);
}

void urgent_data_is_read_beside_the_stream() {
  const Pair pair(4);
  char byte = 0;
  CHECK(core::recv(pair.other, &byte, 1, {.urgent = true}) == -EINVAL);
  CHECK(core::send(pair.one, "x!", 2, {.urgent = true}) == 2);
  CHECK(core::recv(pair.other, &byte, 1, {.urgent = true}) == 1 && byte == '!');
  CHECK(core::recv(pair.other, &byte, 1) == 1 && byte == 'x');
}

void a_message_reports_its_time_and_the_error_queue_that_of_a_sent_one() {
  for (const int family : {4, 6}) {
    const Pair pair(family);
    CHECK(core::set_reports(pair.one, {.errors = true, .sent = true}) == 0);
    CHECK(core::set_reports(pair.other, {.received = true}) == 0);
    uint8_t bytes[16];
    core::MessageFacts facts;
    core::Address offender{};
    CHECK(core::recvmsg(pair.one, bytes, {}, true, &facts, &offender) == -EAGAIN);
    CHECK(core::send(pair.one, "time", 4) == 4);
    CHECK(core::recvmsg(pair.other, bytes, {}, false, &facts, &offender) == 4);
    // The kernel starts to timestamp packets a moment after the first socket has requested it.
    for (int round = 0; facts.timestamp_ns == 0 && round < 1000; round++) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      CHECK(core::send(pair.one, "time", 4) == 4);
      CHECK(core::recvmsg(pair.other, bytes, {}, false, &facts, &offender) == 4);
    }
    CHECK(facts.timestamp_ns > 0 && facts.has_error == 0);
    CHECK(core::poll(pair.one, {.read = true}) == 1);
    CHECK(core::recvmsg(pair.one, bytes, {}, true, &facts, &offender) == 0);
    CHECK(facts.has_error == 1 && facts.origin == core::Origin::timestamp && facts.error == ENOMSG);
    CHECK(facts.stage == core::Stage::sent && facts.data == 3 && facts.has_offender == 0);
  }
}

void a_reactor_stops_while_it_watches() {
  const int listener = core::socket(4, core::Blocking::no);
  CHECK(core::bind(listener, loopback(4, 0)) == 0 && core::listen(listener, 1) == 0);
  for (int round = 0; round < 50; round++) {
    TestReactor watcher;
    CHECK(watcher.reactor.watch(listener, {.write = true}, 1) == 0);
    if (round % 2 == 0) watcher.reactor.stop();
  }
  CHECK(core::close(listener) == 0);
}

/// seccomp(2): runs `work` on a thread for which, and for whose threads, the kernel refuses some system calls
/// with `error`. Returns false when seccomp is not available.
bool run_with_refused_calls(const std::vector<long>& calls, int error, const std::function<void()>& work) {
  std::vector<sock_filter> steps = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const long call : calls) {
    steps.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 1));
    steps.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)));
  }
  steps.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  bool refused = false;
  std::thread thread([&] {
    const sock_fprog filter = {static_cast<unsigned short>(steps.size()), steps.data()};
    refused = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
              prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
    if (refused) work();
  });
  thread.join();
  if (!refused) std::printf("skipped: seccomp(2) is not allowed here\n");
  return refused;
}

void a_thread_that_cannot_be_created_is_EAGAIN() {
  run_with_refused_calls({SYS_clone, SYS_clone3}, EAGAIN, [] {
    core::Thread thread;
    CHECK(thread.start([] {}) == -EAGAIN);
    core::Reactor reactor([](core::Result, const std::vector<uint64_t>&) {});
    CHECK(reactor.start() == -EAGAIN);
    core::Side sides[2];
    for (core::Side& side : sides) {
      side = {core::socket(4, core::Blocking::no), find_dead_peer(4), 0};
      CHECK(core::bind(side.fd, loopback(4, 0)) == 0);
    }
    CHECK(core::meet(&sides[0], &sides[1]) == -EAGAIN);
    core::Address none;
    for (const core::Side& side : sides) {
      CHECK(core::getpeername(side.fd, &none) == -ENOTCONN);
      CHECK(core::close(side.fd) == 0);
    }
  });
}

void a_reactor_that_cannot_wait_reports_the_errno_and_refuses_watches() {
  run_with_refused_calls({SYS_epoll_wait, SYS_epoll_pwait}, EINVAL, [] {
    TestReactor watcher;
    CHECK(watcher.wait_for_failure() == -EINVAL);
    const int fd = core::socket(4, core::Blocking::no);
    CHECK(watcher.reactor.watch(fd, {.write = true}, 1) == -EINVAL);
    CHECK(core::close(fd) == 0);
  });
}

void a_reactor_that_cannot_write_stops_all_the_same() {
  run_with_refused_calls({SYS_write}, EPERM, [] {
    TestReactor watcher;
    watcher.reactor.stop();
  });
}

/// A plan, and the memory that it points to.
struct Plan {
  explicit Plan(core::Strategy strategy, const core::Address& peer, uint32_t attempts)
      : ports(attempts), plan{strategy, peer,        attempts,     60'000, &stop,
                              &closing, &connecting, ports.data(), &report} {}
  bool failed(core::Call call) const { return report.failed_call == static_cast<uint32_t>(call); }
  uint32_t attempts() const { return std::accumulate(report.outcomes, std::end(report.outcomes), 0U); }

  std::vector<uint16_t> ports;
  core::BurstReport report{};
  int32_t stop = 0;
  std::atomic<bool> closing = false;
  core::ConnectingSocket connecting;
  core::BurstPlan plan;
};

/// burst(), which another thread stops after this time.
core::Result burst_stopped_after(Plan& plan, std::chrono::milliseconds time) {
  std::atomic<bool> has_ended = false;
  std::thread stopper([&] {
    std::this_thread::sleep_for(time);
    __atomic_store_n(&plan.stop, 1, __ATOMIC_RELAXED);
    for (; !has_ended; std::this_thread::yield()) core::interrupt_burst(plan.plan);
  });
  const core::Result result = core::burst(plan.plan);
  has_ended = true;
  stopper.join();
  return result;
}

void bind_and_range_self_connect_at_the_first_attempt() {
  for (const core::Strategy strategy : {core::Strategy::bind, core::Strategy::range}) {
    for (const int family : {4, 6}) {
      Plan one(strategy, find_dead_peer(family), 1);
      const core::Result result = core::burst(one.plan);
      if (strategy == core::Strategy::range && result == -ENOPROTOOPT) continue;  // Before Linux 6.3.
      CHECK(result > 0 && one.attempts() == 1 && one.report.outcomes[0] == 1);
      CHECK(one.ports[0] == core::port_of(one.plan.peer));
      CHECK(core::reset(result - 1) == 0);
    }
  }
}

void self_connects_are_reset_except_the_last() {
  for (const int family : {4, 6}) {
    Plan plan(core::Strategy::bind, find_dead_peer(family), 10);
    plan.plan.self_connects = 3;
    const core::Result result = core::burst(plan.plan);
    CHECK(result > 0 && plan.attempts() == 3);
    CHECK(plan.report.resets == 2 && plan.report.outcomes[0] == 3);
    CHECK(core::reset(result - 1) == 0);
  }
}

void a_connection_to_a_listener_is_returned_and_never_reset() {
  const int listener = core::socket(4, core::Blocking::no);
  CHECK(core::bind(listener, loopback(4, 0)) == 0 && core::listen(listener, 8) == 0);
  core::Address peer;
  CHECK(core::getsockname(listener, &peer) == 0);
  Plan plan(core::Strategy::fresh, peer, 10);
  plan.plan.self_connects = 3;
  const core::Result result = core::burst(plan.plan);
  CHECK(result > 0 && plan.attempts() == 1 && plan.report.resets == 0);
  CHECK(core::close(result - 1) == 0 && core::close(listener) == 0);
}

/// Its queue is soon full, and no further connect is answered.
void a_sampling_burst_resets_whatever_connects_and_waits_for_nobody() {
  const int listener = core::socket(4, core::Blocking::no);
  CHECK(core::bind(listener, loopback(4, 0)) == 0 && core::listen(listener, 8) == 0);
  core::Address peer;
  CHECK(core::getsockname(listener, &peer) == 0);
  for (const bool binds_late : {false, true}) {
    Plan plan(core::Strategy::reuse, peer, 100);
    plan.plan.sampling = {.binds_late = binds_late, .resets_all = true};
    CHECK(core::burst(plan.plan) == 0 && plan.attempts() == 100);
    CHECK(plan.report.outcomes[0] == plan.report.resets);
    CHECK(std::none_of(plan.ports.begin(), plan.ports.end(), [](uint16_t port) { return port == 0; }));
  }
  CHECK(core::close(listener) == 0);
}

void every_attempt_is_counted_and_its_port_recorded() {
  for (const core::Strategy strategy :
       {core::Strategy::fresh, core::Strategy::reuse, core::Strategy::autobind}) {
    Plan plan(strategy, refusing_peer(4), 500);
    const core::Result result = core::burst(plan.plan);
    CHECK(result == 0 && plan.attempts() == 500);
    CHECK(plan.report.outcomes[ECONNREFUSED] == 500);
    CHECK(std::none_of(plan.ports.begin(), plan.ports.end(), [](uint16_t port) { return port == 0; }));
  }
}

void a_burst_to_another_host_ends_after_its_first_attempts() {
  // An address for documentation is no host's: bind(2) to it fails, and no packet leaves.
  core::Address peer = refusing_peer(4);
  const uint8_t nobody[] = {192, 0, 2, 1};
  std::copy(std::begin(nobody), std::end(nobody), peer.host);
  Plan plan(core::Strategy::bind, peer, 1000);
  // Fewer, or none, where the machine is so busy that the clock asks for the check before.
  CHECK(core::burst(plan.plan) == 0 && plan.attempts() <= 16);
  CHECK(plan.report.destination == static_cast<uint32_t>(core::Destination::moved));
}

void a_burst_stops_when_another_thread_sets_stop() {
  Plan plan(core::Strategy::fresh, refusing_peer(4), UINT32_MAX / 1024);
  plan.plan.ports = nullptr;
  CHECK(burst_stopped_after(plan, std::chrono::milliseconds(20)) == 0);
  CHECK(plan.attempts() < plan.plan.attempts);
}

void a_burst_that_is_not_stopped_is_not_interrupted() {
  Plan plan(core::Strategy::bind, find_dead_peer(4), 1);
  const int socket = core::socket(4, core::Blocking::no);
  plan.connecting.publish(socket);
  core::interrupt_burst(plan.plan);
  CHECK(!plan.connecting.is_interrupted());
  plan.closing = true;
  core::interrupt_burst(plan.plan);
  CHECK(plan.connecting.is_interrupted() && core::close(socket) == 0);
}

void a_socket_that_connects_as_it_is_interrupted_is_reset() {
  for (const int family : {4, 6}) {
    Plan plan(core::Strategy::bind, find_dead_peer(family), 9);
    plan.plan.engine = core::EngineName::plain;
    const int socket = core::socket(family, core::Blocking::no);
    plan.connecting.publish(socket);
    plan.connecting.interrupt();
    plan.connecting.take_back();
    CHECK(core::close(socket) == 0);
    CHECK(core::burst(plan.plan) == 0);
    CHECK(plan.attempts() == 1 && plan.report.outcomes[0] == 1 && plan.report.resets == 1);
    const int listener = core::socket(family, core::Blocking::no);  // No TIME-WAIT keeps the port.
    CHECK(core::bind(listener, plan.plan.peer) == 0 && core::listen(listener, 1) == 0);
    CHECK(core::close(listener) == 0);
  }
}

/// Whether a socket can still be read.
bool is_readable_side_open(int fd) {
  char byte;
  return core::recv(fd, &byte, 1) == -EAGAIN;
}

void no_socket_is_interrupted_that_has_a_descriptor_used_before() {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
  core::ConnectingSocket connecting;
  std::atomic<bool> has_ended = false;
  std::thread interrupter([&] {
    while (!has_ended) connecting.interrupt();
  });
  const int first = core::socket(4, core::Blocking::yes);
  CHECK(core::close(first) == 0);
  for (int round = 0; round < 2000; round++) {
    const int fd = core::socket(4, core::Blocking::yes);
    connecting.publish(fd);
    connecting.take_back();
    CHECK(core::close(fd) == 0);
    const int other = dup(ends[0]);  // It gets the number of the socket that was closed.
    CHECK(other == fd && core::close(other) == 0);
  }
  has_ended = true;
  interrupter.join();
  CHECK(is_readable_side_open(ends[0]));
  // The control: a descriptor that was not taken back.
  const int fd = core::socket(4, core::Blocking::yes);
  connecting.publish(fd);
  CHECK(core::close(fd) == 0 && dup(ends[0]) == fd);
  connecting.interrupt();
  CHECK(!is_readable_side_open(ends[0]));
  for (const int one : {fd, ends[0], ends[1]}) CHECK(core::close(one) == 0);
}

void a_burst_without_a_socket_returns_EMFILE() {
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few = {64, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  std::vector<int> all;
  for (;;) {
    const int fd = core::socket(4, core::Blocking::no);
    if (fd < 0) break;
    all.push_back(fd);
  }
  Plan plan(core::Strategy::fresh, loopback(4, 1), 1);
  CHECK(core::burst(plan.plan) == -EMFILE && plan.attempts() == 0 && plan.failed(core::Call::socket));
  for (const int fd : all) CHECK(core::close(fd) == 0);
  setrlimit(RLIMIT_NOFILE, &before);
}

void a_burst_whose_connects_never_wait_returns_the_errno() {
  for (const int error : {EALREADY, EINTR}) {
    run_with_refused_calls({SYS_connect}, error, [&] {
      Plan plan(core::Strategy::fresh, refusing_peer(4), 3);
      CHECK(core::burst(plan.plan) == -error && plan.attempts() == 0 && plan.failed(core::Call::connect));
    });
  }
}

/// A plan that io_uring carries out, which does not record ports.
struct RingPlan : Plan {
  RingPlan(core::Strategy strategy, const core::Address& peer, uint32_t attempts)
      : Plan(strategy, peer, attempts) {
    plan.ports = nullptr;
    plan.engine = core::EngineName::ring;
  }
};

/// Whether the kernel has what the strategy needs of io_uring; says so where it has not.
bool can_ring(core::Strategy strategy) {
  RingPlan plan(strategy, refusing_peer(4), 1);
  const core::Result result = core::burst(plan.plan);
  if (result > 0) core::reset(result - 1);
  if (plan.report.ring_refusal == 0) return true;
  std::printf("skipped: io_uring for %s: errno %u\n", core::kStrategyNames[static_cast<size_t>(strategy)],
              plan.report.ring_refusal);
  return false;
}

void a_burst_whose_sockets_take_no_option_returns_the_errno() {
  run_with_refused_calls({SYS_setsockopt}, EPERM, [&] {
    Plan plan(core::Strategy::range, refusing_peer(4), 3);
    CHECK(core::burst(plan.plan) == -EPERM && plan.attempts() == 0 && plan.failed(core::Call::setsockopt));
  });
  // The errno with which a ring is refused, of another call.
  if (!can_ring(core::Strategy::range)) return;
  run_with_refused_calls({SYS_setsockopt}, EOPNOTSUPP, [&] {
    RingPlan plan(core::Strategy::range, refusing_peer(4), 3);
    CHECK(core::burst(plan.plan) == -EOPNOTSUPP && plan.attempts() == 0);
    CHECK(plan.failed(core::Call::setsockopt) && plan.report.ring_refusal == 0);
  });
}

void an_attempt_without_a_reply_is_counted_when_the_burst_stops() {
  // A listener whose backlog is full drops the SYN.
  const int listener = core::socket(4, core::Blocking::no);
  CHECK(core::bind(listener, loopback(4, 0)) == 0 && core::listen(listener, 0) == 0);
  core::Address peer;
  CHECK(core::getsockname(listener, &peer) == 0);
  std::vector<int> fill;
  for (int i = 0; i < 4; i++) {
    fill.push_back(core::socket(4, core::Blocking::no));
    core::begin_connect(fill.back(), peer);
  }
  const auto burst_stopped = [&](core::Strategy strategy, core::EngineName engine) {
    Plan plan(strategy, peer, 5);
    plan.plan.engine = engine;
    if (engine == core::EngineName::ring) plan.plan.ports = nullptr;
    CHECK(burst_stopped_after(plan, std::chrono::milliseconds(50)) == 0);
    CHECK(plan.report.outcomes[core::kUnanswered] == plan.attempts());
    return plan.attempts();
  };
  for (const core::Strategy strategy :
       {core::Strategy::fresh, core::Strategy::reuse, core::Strategy::autobind}) {
    CHECK(burst_stopped(strategy, core::EngineName::plain) == 1);
    if (can_ring(strategy)) CHECK(burst_stopped(strategy, core::EngineName::ring) == 1);
  }
  for (const int fd : fill) CHECK(core::close(fd) == 0);
  CHECK(core::close(listener) == 0);
}

void a_ring_counts_every_attempt() {
  for (const core::Strategy strategy :
       {core::Strategy::fresh, core::Strategy::reuse, core::Strategy::autobind}) {
    if (!can_ring(strategy)) continue;
    for (const int family : {4, 6}) {
      RingPlan plan(strategy, refusing_peer(family), 501);
      CHECK(core::burst(plan.plan) == 0);
      CHECK(plan.attempts() == 501 && plan.report.ring_attempts == 501);
      CHECK(plan.report.outcomes[ECONNREFUSED] == 501 && plan.report.local_port != 0);
    }
  }
}

void a_ring_resets_self_connects_except_the_last() {
  for (const core::Strategy strategy : {core::Strategy::bind, core::Strategy::range}) {
    if (!can_ring(strategy)) continue;
    for (const uint32_t wanted : {1U, 2U, 33U, 100U}) {
      RingPlan plan(strategy, find_dead_peer(4), 1000);
      plan.plan.self_connects = wanted;
      const core::Result result = core::burst(plan.plan);
      CHECK(result > 0 && plan.attempts() == wanted && plan.report.outcomes[0] == wanted);
      CHECK(plan.report.resets == wanted - 1 && core::is_joined(result - 1) == 1);
      CHECK(core::reset(result - 1) == 0);
    }
  }
}

void a_ring_hands_over_one_connection_to_a_listener() {
  const int listener = core::socket(4, core::Blocking::no);
  CHECK(core::bind(listener, loopback(4, 0)) == 0 && core::listen(listener, 64) == 0);
  core::Address peer;
  CHECK(core::getsockname(listener, &peer) == 0);
  for (const core::Strategy strategy : {core::Strategy::fresh, core::Strategy::reuse}) {
    if (!can_ring(strategy)) continue;
    RingPlan plan(strategy, peer, 100);
    const core::Result result = core::burst(plan.plan);
    CHECK(result > 0 && plan.attempts() == 1 && plan.report.outcomes[0] == 1 && plan.report.resets == 0);
    CHECK(core::reset(result - 1) == 0);
  }
  CHECK(core::close(listener) == 0);
}

void an_engine_that_is_forbidden_is_an_error_or_replaced_by_the_plain_one() {
  constexpr long kSetup = 425;
  for (const int error : {EPERM, ENOSYS}) {
    run_with_refused_calls({kSetup}, error, [&] {
      RingPlan asked(core::Strategy::reuse, refusing_peer(4), 100);
      CHECK(core::burst(asked.plan) == -error && asked.attempts() == 0);
      RingPlan automatic(core::Strategy::reuse, refusing_peer(4), 100);
      automatic.plan.engine = core::EngineName::automatic;
      CHECK(core::burst(automatic.plan) == 0 && automatic.attempts() == 100);
      CHECK(automatic.report.ring_attempts == 0);
      CHECK(automatic.report.ring_refusal == static_cast<uint32_t>(error));
    });
  }
}

void engines_are_compared_by_attempts_that_count() {
  if (!can_ring(core::Strategy::reuse)) return;
  RingPlan plan(core::Strategy::reuse, refusing_peer(4), 3000);
  plan.plan.engine = core::EngineName::automatic;
  CHECK(core::burst(plan.plan) == 0 && plan.attempts() == 3000);
  CHECK(plan.report.ring_attempts >= 640 && plan.report.ring_attempts <= 3000 - 640);
}

void two_sockets_that_meet_open_simultaneously() {
  cpu_set_t processors;
  CHECK(sched_getaffinity(0, sizeof processors, &processors) == 0);
  if (CPU_COUNT(&processors) < 2) {
    std::printf("skipped: SYNs cross on loopback only where two processors send at the same moment\n");
    return;
  }
  const core::Address addresses[] = {find_dead_peer(4), find_dead_peer(4)};
  bool is_open = false;
  for (int attempt = 0; attempt < 1000 && !is_open; attempt++) {
    core::Side sides[2];
    for (int i = 0; i < 2; i++) {
      sides[i] = {core::socket(4, core::Blocking::no), addresses[1 - i], 0};
      CHECK(core::bind(sides[i].fd, addresses[i]) == 0);
    }
    CHECK(core::meet(&sides[0], &sides[1]) == 0);
    // Either each is connected to the other, or one SYN came too early and both were refused.
    int connected = 0;
    for (int i = 0; i < 2; i++) {
      core::Address peer{};
      connected += core::getpeername(sides[i].fd, &peer) == 0 && is_same(peer, addresses[1 - i]);
    }
    for (const core::Side& side : sides) CHECK(core::reset(side.fd) == 0);
    is_open = connected == 2;
  }
  CHECK(is_open);
}

void check_capture(int family) {
  const core::Address peer = find_dead_peer(family);
  core::CaptureCall failed;
  const int capture = core::capture_open("lo", core::port_of(peer), core::port_of(peer), 1 << 20, &failed);
  if (capture == -EPERM) {
    std::printf("skipped: AF_PACKET needs CAP_NET_RAW\n");
    return;
  }
  CHECK(capture >= 0);
  const int other = core::socket(family, core::Blocking::no);
  core::connect(other, refusing_peer(family));
  const int self = core::socket(family, core::Blocking::no);
  CHECK(core::bind(self, peer) == 0);
  CHECK(core::begin_connect(self, peer) >= 0);
  std::vector<uint8_t> bytes(1 << 19);
  core::PacketFacts facts[8];
  size_t count = 0;
  while (count < 3) {
    const core::Result read =
        core::capture_read(capture, bytes.data(), bytes.size(), facts + count, 8 - count);
    CHECK(read >= 0);
    count += static_cast<size_t>(read);
  }
  // SYN, SYN+ACK, ACK; no packet of the refused connect, and no incoming copies.
  CHECK(count == 3);
  CHECK(facts[0].stamp_ns <= facts[2].stamp_ns && facts[0].captured_bytes == facts[0].wire_bytes);
  uint32_t passed = 0;
  uint32_t dropped = 0;
  CHECK(core::packet_statistics(capture, &passed, &dropped) == 0 && passed == 3 && dropped == 0);
  for (const int fd : {capture, other}) CHECK(core::close(fd) == 0);
  CHECK(core::reset(self) == 0);
}

void a_capture_keeps_one_copy_of_each_ipv4_packet_between_its_ports() { check_capture(4); }
void a_capture_keeps_one_copy_of_each_ipv6_packet_between_its_ports() { check_capture(6); }

void a_capture_that_cannot_be_opened_names_the_call() {
  core::CaptureCall failed;
  const core::Result result = core::capture_open("no-such", 1, 1, 1 << 20, &failed);
  CHECK(result == -EPERM ? failed == core::CaptureCall::socket
                         : result == -ENODEV && failed == core::CaptureCall::if_nametoindex);
  if (result == -EPERM) return;
  struct {
    std::vector<long> calls;
    core::CaptureCall expected;
  } const rows[] = {{{SYS_socket}, core::CaptureCall::socket},
                    {{SYS_setsockopt}, core::CaptureCall::setsockopt},
                    {{SYS_bind}, core::CaptureCall::bind}};
  for (const auto& row : rows) {
    run_with_refused_calls(row.calls, EBUSY, [&] {
      CHECK(core::capture_open("lo", 1, 1, 1 << 20, &failed) == -EBUSY && failed == row.expected);
    });
  }
}

int count_open_fds() {
  int count = 0;
  for (int fd = 0; fd < 4096; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

/// Returns how many sockets the kernel's table has on one local port, and writes the first one to `record`.
core::Result find_sockets(int family, uint16_t port, bool joined_only, core::DiagRecord* record) {
  core::DiagFilter filter{};
  filter.family = family;
  filter.states = UINT32_MAX;
  filter.low = filter.high = port;
  filter.joined_only = joined_only;
  filter.details = true;
  return core::diag(filter, record, 1);
}

void the_socket_table_has_a_socket_joined_to_itself() {
  for (const int family : {4, 6}) {
    const core::Address peer = find_dead_peer(family);
    const int fd = core::socket(family, core::Blocking::no);
    CHECK(core::bind(fd, peer) == 0);
    core::DiagRecord record{};
    CHECK(find_sockets(family, core::port_of(peer), true, &record) == 0);
    core::connect(fd, peer);
    CHECK(find_sockets(family, core::port_of(peer), true, &record) == 1);
    CHECK(is_same(record.local, peer) && is_same(record.peer, peer));
    CHECK(record.quiet_ms != core::kUnreported && record.inode != 0);
    CHECK(core::reset(fd) == 0);
    CHECK(find_sockets(family, core::port_of(peer), false, &record) == 0);
  }
}

/// A socket joined to itself, and what identifies it in the kernel's table.
struct Joined {
  int fd;
  core::Address local;
  core::DiagIdentity identity;
  uint32_t inode;
};

Joined join(int family) {
  const core::Address local = find_dead_peer(family);
  const int fd = core::socket(family, core::Blocking::no);
  CHECK(core::bind(fd, local) == 0);
  core::connect(fd, local);
  core::DiagRecord record{};
  CHECK(find_sockets(family, core::port_of(local), true, &record) == 1);
  const core::DiagIdentity identity{local, local, record.interface, {record.cookie[0], record.cookie[1]}};
  return {fd, local, identity, record.inode};
}

/// As in tcpi_state.
constexpr uint32_t kEstablished = 1;

void a_joined_socket_is_destroyed_by_its_cookie_only() {
  for (const int family : {4, 6}) {
    Joined joined = join(family);
    core::DiagIdentity other = joined.identity;
    other.cookie[0] += 1;
    const core::Result refused = core::destroy(other, -1);
    // Without CAP_NET_ADMIN the kernel does not look.
    CHECK(refused == -ENOENT || refused == -ESTALE || refused == -EPERM || refused == -EOPNOTSUPP);
    core::DiagRecord record{};
    CHECK(find_sockets(family, core::port_of(joined.local), true, &record) == 1);
    if (core::destroy(joined.identity, -1) == 0) {
      CHECK(core::take_error(joined.fd) == ECONNABORTED);
      // Linux 6.8 and later report what is left of it: the bind.
      const core::Result left = find_sockets(family, core::port_of(joined.local), true, &record);
      CHECK(left == 0 || record.state != kEstablished);
    }
    CHECK(core::close(joined.fd) == 0);
  }
}

void a_joined_socket_is_disconnected_through_its_process() {
  for (const int family : {4, 6}) {
    Joined joined = join(family);
    core::Address local{};
    CHECK(core::local_name_of(getpid(), joined.fd, &local) == 0 && is_same(local, joined.local));
    const uint32_t* cookie = joined.identity.cookie;
    const auto disconnect = [&](uint32_t inode, uint32_t low) {
      return core::disconnect_joined(getpid(), joined.fd, {inode, {low, cookie[1]}});
    };
    CHECK(disconnect(joined.inode, cookie[0] + 1) == -ESTALE);
    CHECK(disconnect(joined.inode + 1, cookie[0]) == -ESTALE);
    CHECK(disconnect(joined.inode, cookie[0]) == 0);
    CHECK(disconnect(joined.inode, cookie[0]) == -ESTALE);
    CHECK(core::take_error(joined.fd) == ECONNRESET);
    CHECK(core::close(joined.fd) == 0);
  }
  core::Address local{};
  CHECK(core::local_name_of(getpid(), 4095, &local) == -EBADF);
  const int other = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK(core::local_name_of(getpid(), other, &local) == -ENOTSOCK);
  CHECK(core::close(other) == 0);
}

/// A made-up message of a dump: its header and an int.
struct Message {
  nlmsghdr header;
  int payload;
};

Message create_message(uint16_t type, uint16_t flags, int payload) {
  return {{sizeof(Message), type, flags, 0, 0}, payload};
}

std::vector<uint8_t> bytes_of(const Message& message, size_t length = sizeof(Message)) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&message);
  return {bytes, bytes + length};
}

/// Runs diag over a socket on which these datagrams arrive.
core::Result run_diag_over(const std::vector<std::vector<uint8_t>>& datagrams) {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
  for (const auto& datagram : datagrams) {
    CHECK(core::send(ends[1], datagram.data(), datagram.size()) == static_cast<int>(datagram.size()));
  }
  CHECK(::shutdown(ends[1], SHUT_WR) == 0);
  core::DiagFilter filter{};
  filter.family = 4;
  core::DiagRecord record;
  const core::Result result = core::diag_over(ends[0], filter, &record, 1);
  for (const int end : ends) CHECK(core::close(end) == 0);
  return result;
}

/// Runs diag over a socket on which these replies arrive, one datagram each.
core::Result run_diag(const std::vector<Message>& replies) {
  std::vector<std::vector<uint8_t>> datagrams;
  for (const Message& reply : replies) datagrams.push_back(bytes_of(reply));
  return run_diag_over(datagrams);
}

/// What is past the end of a datagram is the rest of the one before, whose memory it has.
void a_last_message_without_padding_ends_its_datagram() {
  const Message done = create_message(NLMSG_DONE, NLM_F_MULTI, 0);
  const Message failed = create_message(NLMSG_ERROR, 0, -EIO);
  Message whole = create_message(NLMSG_NOOP, NLM_F_MULTI, 0);
  whole.header.nlmsg_len = 2 * sizeof(Message);
  std::vector<uint8_t> before = bytes_of(whole);
  for (const uint8_t byte : bytes_of(failed)) before.push_back(byte);
  Message cut = create_message(NLMSG_NOOP, NLM_F_MULTI, 0);
  cut.header.nlmsg_len = sizeof(Message) - 2;
  CHECK(run_diag_over({before, bytes_of(cut, cut.header.nlmsg_len), bytes_of(done)}) == 0);
}

void a_time_that_no_clock_shows_wraps_around() {
  CHECK(core::nanoseconds_of({.tv_sec = 1, .tv_nsec = 2}) == 1'000'000'002);
  const auto most = std::numeric_limits<time_t>::max();
  CHECK(core::nanoseconds_of({.tv_sec = most, .tv_nsec = 999'999'999}) == -1);
}

void a_failed_dump_returns_its_errno_and_not_an_empty_table() {
  CHECK(run_diag({create_message(NLMSG_DONE, NLM_F_MULTI, 0)}) == 0);
  CHECK(run_diag({create_message(NLMSG_DONE, NLM_F_MULTI, -ENOENT)}) == -ENOENT);
  CHECK(run_diag({create_message(NLMSG_ERROR, 0, -EINVAL)}) == -EINVAL);
  // A record that is too short, and replies without a final message.
  CHECK(run_diag({create_message(SOCK_DIAG_BY_FAMILY, NLM_F_MULTI, 0)}) == -EPROTO);
  CHECK(run_diag({create_message(NLMSG_NOOP, NLM_F_MULTI, 0)}) == -EPROTO);
}

void a_dump_is_repeated_a_few_times_when_the_table_changes() {
  const Message changed = create_message(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, 0);
  const Message done = create_message(NLMSG_DONE, NLM_F_MULTI, 0);
  CHECK(run_diag({changed, changed, done}) == 0);
  CHECK(run_diag(std::vector(100, changed)) == -EINTR);
}

void the_route_gives_the_local_address_of_a_connect() {
  for (const int family : {4, 6}) {
    core::Address local;
    CHECK(core::route_source(loopback(family, 50000), &local) == 0);
    CHECK(is_same(core::with_port(local, 0), loopback(family, 0)));
  }
}

void a_file_is_read_in_the_own_namespace_and_a_bad_one_is_an_errno() {
  char bytes[64];
  auto failed = core::FileCall::setns;
  const auto read = [&] { return core::read_file("/proc/self/stat", bytes, sizeof bytes, &failed); };
  CHECK(core::run_in_namespace(-1, read) > 0);
  failed = core::FileCall::setns;
  CHECK(core::run_in_namespace(1000000, read) == -EBADF && failed == core::FileCall::setns);
  CHECK(core::read_file("/proc/no-such", bytes, sizeof bytes, &failed) == -ENOENT);
  CHECK(failed == core::FileCall::open);
  CHECK(core::read_file("/proc", bytes, sizeof bytes, &failed) == -EISDIR);
  CHECK(failed == core::FileCall::read);
}

struct Test {
  const char* name;
  void (*run)();
};
#define TEST(function)  \
  {                     \
#function, function \
  }

constexpr Test kTests[] = {
    TEST(an_address_converts_to_sockaddr_and_back),
    TEST(from_sockaddr_rejects_another_family),
    TEST(a_socket_bound_to_its_peer_connects_to_itself),
    TEST(connect_progress_tells_how_the_connect_stands),
    TEST(connect_checked_returns_how_the_connect_ended),
    TEST(connect_checked_uses_the_next_range_when_the_first_is_exhausted),
    TEST(close_checked_leaves_no_TIME_WAIT_of_a_socket_joined_to_itself),
    TEST(reset_at_close_if_joined_makes_a_plain_close_leave_no_TIME_WAIT),
    TEST(end_joined_gives_the_reader_all_bytes_then_the_end_and_leaves_no_TIME_WAIT),
    TEST(end_joined_waits_for_bytes_on_their_way),
    TEST(an_error_is_negative_errno),
    TEST(take_error_clears_the_error),
    TEST(sockets_are_nonblocking_and_close_on_exec),
    TEST(an_inherited_socket_is_checked_and_set_nonblocking_and_close_on_exec),
    TEST(a_shelved_descriptor_is_claimed_once_by_any_thread),
    TEST(option_names_and_constants_are_unique),
    TEST(an_absent_option_is_ENOPROTOOPT),
    TEST(too_little_memory_is_EINVAL_and_not_a_crash),
    TEST(tcp_info_returns_the_state),
    TEST(bytes_of_a_wrong_length_are_EINVAL_and_not_a_crash),
    TEST(the_reactor_reports_each_ended_connect_once),
    TEST(the_reactor_reports_each_direction_and_each_change),
    TEST(buffers_are_sent_in_order_and_no_more_than_the_kernel_takes),
    TEST(urgent_data_is_read_beside_the_stream),
    TEST(a_message_reports_its_time_and_the_error_queue_that_of_a_sent_one),
    TEST(a_reactor_stops_while_it_watches),
    TEST(a_thread_that_cannot_be_created_is_EAGAIN),
    TEST(a_reactor_that_cannot_wait_reports_the_errno_and_refuses_watches),
    TEST(a_reactor_that_cannot_write_stops_all_the_same),
    TEST(bind_and_range_self_connect_at_the_first_attempt),
    TEST(self_connects_are_reset_except_the_last),
    TEST(a_connection_to_a_listener_is_returned_and_never_reset),
    TEST(a_sampling_burst_resets_whatever_connects_and_waits_for_nobody),
    TEST(every_attempt_is_counted_and_its_port_recorded),
    TEST(a_burst_to_another_host_ends_after_its_first_attempts),
    TEST(a_burst_stops_when_another_thread_sets_stop),
    TEST(a_burst_that_is_not_stopped_is_not_interrupted),
    TEST(a_socket_that_connects_as_it_is_interrupted_is_reset),
    TEST(no_socket_is_interrupted_that_has_a_descriptor_used_before),
    TEST(a_burst_without_a_socket_returns_EMFILE),
    TEST(a_burst_whose_connects_never_wait_returns_the_errno),
    TEST(a_burst_whose_sockets_take_no_option_returns_the_errno),
    TEST(an_attempt_without_a_reply_is_counted_when_the_burst_stops),
    TEST(a_ring_counts_every_attempt),
    TEST(a_ring_resets_self_connects_except_the_last),
    TEST(a_ring_hands_over_one_connection_to_a_listener),
    TEST(an_engine_that_is_forbidden_is_an_error_or_replaced_by_the_plain_one),
    TEST(engines_are_compared_by_attempts_that_count),
    TEST(two_sockets_that_meet_open_simultaneously),
    TEST(a_capture_keeps_one_copy_of_each_ipv4_packet_between_its_ports),
    TEST(a_capture_keeps_one_copy_of_each_ipv6_packet_between_its_ports),
    TEST(a_capture_that_cannot_be_opened_names_the_call),
    TEST(the_socket_table_has_a_socket_joined_to_itself),
    TEST(a_failed_dump_returns_its_errno_and_not_an_empty_table),
    TEST(a_last_message_without_padding_ends_its_datagram),
    TEST(a_time_that_no_clock_shows_wraps_around),
    TEST(a_dump_is_repeated_a_few_times_when_the_table_changes),
    TEST(the_route_gives_the_local_address_of_a_connect),
    TEST(a_file_is_read_in_the_own_namespace_and_a_bad_one_is_an_errno),
    TEST(a_joined_socket_is_destroyed_by_its_cookie_only),
    TEST(a_joined_socket_is_disconnected_through_its_process),
};

}  // namespace

/// Leaves out the tests that are named in its arguments.
int main(int argc, char** argv) {
  const std::span<char*> left_out(argv, static_cast<size_t>(argc));
  for (const Test& test : kTests) {
    if (std::ranges::any_of(left_out, [&](const char* name) { return std::string_view(name) == test.name; }))
      continue;
    const int before = count_open_fds();
    test.run();
    if (count_open_fds() != before) {
      std::fprintf(stderr, "%s left a file descriptor open\n", test.name);
      return 1;
    }
    std::printf("ok %s\n", test.name);
  }
  return 0;
}
