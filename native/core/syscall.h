#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/address.h"
#include "core/result.h"

/// One function per system call, with no opinion added. Each returns a Result.
namespace core {

enum class Blocking : bool { no = false, yes = true };
enum class How { read, write, both };

/// What a wait is for.
struct Directions {
  bool read = false;
  bool write = false;
};

/// Flags of send(2) and recv(2).
struct Transfer {
  bool peek = false;    ///< MSG_PEEK.
  bool urgent = false;  ///< MSG_OOB.
};

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
Result send(int fd, const void* bytes, size_t length, Transfer flags = {});
/// sendmsg(2) without SIGPIPE: the bytes taken from the buffers in their order. The kernel takes at most
/// IOV_MAX buffers (1024 on Linux), and so does this call: the others are not sent.
Result sendmsg(int fd, std::span<const std::span<const uint8_t>> buffers);
/// recv(2): the bytes read, 0 at the end of the stream.
Result recv(int fd, void* bytes, size_t length, Transfer flags = {});
/// poll(2) without waiting: 1 when a call in one of the directions would not block, also because it would
/// fail; 0 when it would.
Result poll(int fd, Directions directions);
/// close(2).
Result close(int fd);
/// setsockopt(2), SO_LINGER {1, 0}, then close(2): RST, and no TIME-WAIT.
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

/// pipe2(2), nonblocking and close-on-exec.
Result pipe(int ends[2]);
/// write(2) of one byte into a pipe; a full pipe counts as woken.
Result wake(int write_end);

}  // namespace core
