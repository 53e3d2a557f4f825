#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>

#include "core/address.h"
#include "core/result.h"

/// One function per system call, without policy. Each returns a Result.
namespace core {

enum class Blocking : bool { no = false, yes = true };
enum class Protocol : bool { tcp = false, mptcp = true };
enum class How { read, write, both };

/// What to wait for.
struct Directions {
  bool read = false;
  bool write = false;
};

/// Flags of send(2) and recv(2).
struct Transfer {
  bool peek = false;    ///< MSG_PEEK.
  bool urgent = false;  ///< MSG_OOB.
};

/// socket(2) for TCP or Multipath TCP, close-on-exec. `family` is 4 or 6.
Result socket(int family, Blocking blocking, Protocol protocol = Protocol::tcp);
/// socket(2), SOCK_DGRAM: connect(2) of it sends nothing, and getsockname(2) is then the address from which a
/// connect to the same peer would come.
Result datagram_socket(int family);
/// SO_TYPE, getsockname(2) and, where the build knows it, SO_PROTOCOL: 0 when the fd is a TCP or MPTCP
/// socket. -EBADF, -ENOTSOCK, or -EPROTONOSUPPORT for a socket of another kind.
Result check_tcp(int fd);
/// setns(2), CLONE_NEWNET: the calling thread's network namespace. -ENOSYS where there are none.
Result enter_network_namespace(int fd);
/// bind(2).
Result bind(int fd, const Address& local);
/// connect(2).
Result connect(int fd, const Address& peer);
/// connect(2) with AF_UNSPEC: sends RST, leaves no TIME-WAIT, and the socket can connect again. A port that
/// the caller bound stays bound. -EAFNOSUPPORT in gVisor.
Result disconnect(int fd);
/// A connect(2) of a nonblocking socket goes on.
inline constexpr Result kInProgress = 1;
/// connect(2) on a nonblocking socket. Returns 0 when connected, or kInProgress.
Result begin_connect(int fd, const Address& peer);
/// listen(2).
Result listen(int fd, int backlog);
/// accept4(2). Returns the new fd, nonblocking and close-on-exec.
Result accept(int fd);
/// getsockname(2).
Result getsockname(int fd, Address* out);
/// getpeername(2).
Result getpeername(int fd, Address* out);
/// getsockopt(2). Returns the length that the kernel wrote.
Result getsockopt(int fd, int level, int number, void* value, size_t length);
/// setsockopt(2).
Result setsockopt(int fd, int level, int number, const void* value, size_t length);
/// getsockopt(2), SO_ERROR. Returns the pending error as a positive errno and clears it; 0 without an error.
Result take_error(int fd);
/// shutdown(2).
Result shutdown(int fd, How how);
/// send(2) without SIGPIPE. Returns how many bytes were sent.
Result send(int fd, const void* bytes, size_t length, Transfer flags = {});
/// sendmsg(2) without SIGPIPE: the bytes of the buffers in their order. Returns how many bytes were sent. The
/// kernel accepts at most IOV_MAX buffers (1024 on Linux); this call does not send the buffers after them.
/// `control`: control messages (cmsg(3)), aligned for cmsghdr.
Result sendmsg(int fd, std::span<const std::span<const uint8_t>> buffers, std::span<uint8_t> control = {});
/// recv(2). Returns how many bytes were read; 0 at the end of the stream.
Result recv(int fd, void* bytes, size_t length, Transfer flags = {});
/// poll(2) without waiting. Returns 1 when a call in one of the directions would not block, even if it would
/// fail; 0 when it would block.
Result poll(int fd, Directions directions);
/// close(2).
Result close(int fd);
/// setsockopt(2), SO_LINGER {1, 0}: close(2) sends RST and leaves no TIME-WAIT.
Result set_reset_at_close(int fd);
/// setsockopt(2), SO_LINGER {1, 0}, then close(2): sends RST and leaves no TIME-WAIT.
Result reset(int fd);
/// fcntl(2), FD_CLOEXEC.
Result set_close_on_exec(int fd);
/// fcntl(2), O_NONBLOCK.
Result set_nonblocking(int fd);
/// if_nametoindex(3).
Result if_nametoindex(const char* name);
/// if_indextoname(3). Returns the length of the name.
Result if_indextoname(uint32_t index, char* name, size_t length);
/// The nanoseconds of a time. One that no clock shows, in bytes that another program sent, wraps around.
int64_t nanoseconds_of(const timespec& time);
/// clock_gettime(2), CLOCK_MONOTONIC, in nanoseconds.
int64_t monotonic_ns();

/// Whether a result of connect(2) means that the connect goes on: -EINPROGRESS, -EALREADY or -EINTR.
bool is_in_progress(Result result);

/// pipe2(2), nonblocking and close-on-exec.
Result pipe(int ends[2]);
/// write(2) of one byte into a pipe, to wake its reader. Returns 0 for a full pipe, whose reader wakes
/// anyway.
Result wake(int write_end);

}  // namespace core
