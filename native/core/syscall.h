#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/address.h"
#include "core/result.h"

/// One function per system call, with no opinion added. Each returns a Result.
namespace core {

struct DiagFilter;
struct DiagRecord;

enum class Blocking : bool { no = false, yes = true };
enum class How { read, write, both };

/// socket(2) for TCP, close-on-exec. `family` is 4 or 6.
Result socket(int family, Blocking blocking);
/// bind(2).
Result bind(int fd, const Address& local);
/// connect(2).
Result connect(int fd, const Address& peer);
/// connect(2) on a nonblocking socket: 0 when connected, 1 while in progress.
Result begin_connect(int fd, const Address& peer);
/// listen(2).
Result listen(int fd, int backlog);
/// accept4(2): the new fd, nonblocking and close-on-exec.
Result accept(int fd);
/// getsockname(2).
Result getsockname(int fd, Address* out);
/// getpeername(2).
Result getpeername(int fd, Address* out);
/// getsockopt(2): the length written.
Result getsockopt(int fd, int level, int number, void* value, size_t length);
/// setsockopt(2).
Result setsockopt(int fd, int level, int number, const void* value, size_t length);
/// getsockopt(2), SO_ERROR: the pending error as a positive errno, 0 when there is none; reading clears it.
Result take_error(int fd);
/// shutdown(2).
Result shutdown(int fd, How how);
/// send(2) without SIGPIPE: the bytes taken.
Result send(int fd, const void* bytes, size_t length);
/// recv(2): the bytes read, 0 at the end of the stream.
Result recv(int fd, void* bytes, size_t length);
/// close(2).
Result close(int fd);
/// setsockopt(2), SO_LINGER {1, 0}, then close(2): RST, and no TIME_WAIT.
Result reset(int fd);
/// fcntl(2), O_NONBLOCK.
Result set_nonblocking(int fd);
/// setsockopt(2), SO_SNDTIMEO: how long a blocking connect(2) waits before it answers EINPROGRESS.
Result set_connect_wait(int fd, int wait_ms);
/// if_nametoindex(3).
Result if_nametoindex(const char* name);
/// if_indextoname(3): the length of the name.
Result if_indextoname(uint32_t index, char* name, size_t length);
/// clock_gettime(2), CLOCK_MONOTONIC, in nanoseconds.
int64_t monotonic_ns();

/// Whether an errno says that a nonblocking connect goes on (EINPROGRESS, EALREADY, or EINTR, after which it
/// does too).
bool is_in_progress(Result result);

/// epoll_create1(2); kqueue(2) on macOS and the BSDs.
Result poller_create();
/// epoll_ctl(2), EPOLLOUT | EPOLLONESHOT: tell once, by `token`, when a connect on the fd has ended.
Result poller_watch(int poller, int fd, uint64_t token);
/// epoll_ctl(2), EPOLL_CTL_DEL.
Result poller_unwatch(int poller, int fd);
/// Watches the read end of a pipe, for waking the waiter.
Result poller_watch_readable(int poller, int fd, uint64_t token);
/// epoll_wait(2) without a timeout: the tokens that became ready.
Result poller_wait(int poller, std::vector<uint64_t>* tokens);
/// One step of a packet filter: struct sock_filter of bpf(4), the same on every platform that has it.
struct FilterStep {
  uint16_t code;
  uint8_t if_true;   ///< How many steps to skip when a comparison holds.
  uint8_t if_false;  ///< And when it does not.
  uint32_t operand;
};

/// The instructions that we use, by what they do.
namespace filter {
inline constexpr uint16_t kLoadWord = 0x20;          ///< A = 32 bits at the operand.
inline constexpr uint16_t kLoadHalf = 0x28;          ///< A = 16 bits at the operand.
inline constexpr uint16_t kLoadByte = 0x30;          ///< A = 8 bits at the operand.
inline constexpr uint16_t kLoadWordPast = 0x40;      ///< A = 32 bits at X + the operand.
inline constexpr uint16_t kLoadHeaderLength = 0xb1;  ///< X = 4 * (the low four bits at the operand).
inline constexpr uint16_t kEquals = 0x15;            ///< A == the operand.
inline constexpr uint16_t kAnyBit = 0x45;            ///< A & the operand.
inline constexpr uint16_t kAnd = 0x54;               ///< A = A & the operand.
inline constexpr uint16_t kReturn = 0x06;            ///< Keep as many bytes as the operand says.
/// Where Linux lets a filter read which way a packet goes, and the way out (packet(7), PACKET_OUTGOING).
inline constexpr uint32_t kDirection = 0xfffff004;
inline constexpr uint32_t kOutgoing = 4;
}  // namespace filter

/// What recvmsg(2) tells about a packet besides its bytes.
struct PacketFacts {
  uint64_t stamp_ns;  ///< SCM_TIMESTAMPNS: CLOCK_REALTIME when the packet passed.
  uint64_t captured_bytes;
  uint64_t wire_bytes;  ///< More than were captured when there was no room for all.
};

/// socket(2), AF_PACKET and SOCK_RAW, nonblocking: deaf until packet_bind. -ENOSYS where there is none.
Result packet_socket();
/// setsockopt(2), SO_ATTACH_FILTER.
Result packet_filter(int fd, const FilterStep* steps, size_t count);
/// setsockopt(2), SO_RCVBUFFORCE, or SO_RCVBUF where that is not allowed.
Result packet_buffer(int fd, int bytes);
/// setsockopt(2), SO_TIMESTAMPNS, then bind(2) to an interface for all protocols.
Result packet_bind(int fd, int interface_index);
/// recvmsg(2) of one packet: 0, or -EAGAIN when none is there.
Result packet_receive(int fd, void* bytes, size_t length, PacketFacts* facts);
/// getsockopt(2), PACKET_STATISTICS: how many packets passed the filter since the last call (dropped ones
/// included), and how many of them the kernel had no room for.
Result packet_statistics(int fd, uint32_t* passed, uint32_t* dropped);

/// pipe2(2), nonblocking and close-on-exec.
Result pipe(int ends[2]);
/// write(2) of one byte into a pipe; a full pipe counts as woken.
Result wake(int write_end);

/// socket(2), AF_NETLINK, NETLINK_SOCK_DIAG; -ENOSYS where there is none.
Result diag_socket();
/// send(2): asks for the TCP sockets that pass the filter.
Result diag_request(int fd, const DiagFilter& filter);
/// recv(2): appends the next of them; 1 while there are more to come, 0 at the end.
Result diag_receive(int fd, std::vector<DiagRecord>* records);

}  // namespace core
