#pragma once

#include <atomic>

namespace core {

/// The socket with which one thread makes blocking connects, where another thread can end the one that waits.
/// SO_SNDTIMEO would do the same, with a system call for each socket.
class ConnectingSocket {
 public:
  /// From now on interrupt() finds the fd.
  void publish(int fd) { fd_.store(fd); }
  /// Afterwards interrupt() does not touch the fd, so that its number may be closed and used again.
  void take_back();
  /// shutdown(2), SHUT_RD, of the published fd: in SYN-SENT Linux ends the connect, and connect(2) returns
  /// -ECONNRESET. One that begins later waits all the same: call again until the other thread has ended. A
  /// connection keeps its write side, so that it can be reset and leaves no TIME-WAIT. Any one thread.
  void interrupt();
  /// Whether interrupt() has found a socket.
  bool is_interrupted() const { return is_interrupted_; }

 private:
  /// No fd is published; interrupt() uses it at this moment.
  static constexpr int kNone = -1, kInUse = -2;

  std::atomic<int> fd_ = kNone;
  std::atomic<bool> is_interrupted_ = false;
};

}  // namespace core
