#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/address.h"
#include "core/result.h"

namespace core {

struct RingEntry;
struct RingCompletion;

/// The operations of io_uring that make attempts.
enum class RingOperation : uint8_t { connect, socket, bind, close, install };

/// What an entry of a batch waits for: nothing, the entry before it whatever its result, or its success.
enum class Link : uint8_t { none, hard, soft };

/// A socket by its descriptor, or by its slot in the ring, where it needs no descriptor.
struct RingSocket {
  int number;
  bool is_slot = false;
};

/// io_uring(7), a batch at a time: entries are added, run together, and each has a result. One thread uses
/// it.
class Ring {
 public:
  /// The result of an entry that the kernel did not take.
  static constexpr Result kNotRun = -4096;

  Ring() = default;
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// io_uring_setup(2) for batches of at most `entries`, and slots for that many sockets. -EPERM, -ENOSYS,
  /// -ENOMEM where the host forbids or lacks it, -EOPNOTSUPP before Linux 5.19.
  Result open(uint32_t entries, uint32_t slots);
  /// io_uring_register(2), IORING_REGISTER_PROBE: whether the kernel has an operation.
  bool supports(RingOperation operation) const;

  /// An entry's `link` says how the next entry depends on it. `name` must live until run() returns.
  void connect(RingSocket socket, const sockaddr_storage& name, socklen_t length, Link link);
  void bind(RingSocket socket, const sockaddr_storage& name, socklen_t length, Link link);
  /// socket(2) into a slot; a socket that was there is closed.
  void socket(int family, int slot, Link link);
  void close_slot(int slot);
  /// Gives the socket of a slot a descriptor, which is the result.
  void install(int slot);

  /// io_uring_enter(2) until each entry has its result. When `is_stopped` is true the entries are cancelled;
  /// it is asked at least every 2 ms. Returns -errno when the ring fails.
  template <typename IsStopped>
  Result run(const IsStopped& is_stopped) {
    Result result = 0;
    while (result >= 0 && unsubmitted_ + outstanding_ > 0) result = is_stopped() ? cancel() : enter(all());
    batch_ = 0;
    cancels_ = 0;
    return result;
  }
  /// The result of the last batch's entry, counted from 0.
  Result result(size_t entry) const { return results_[entry]; }

 private:
  RingEntry* add(RingOperation operation, Link link);
  uint32_t all() const { return unsubmitted_ + outstanding_; }
  Result cancel();
  Result enter(uint32_t wanted);
  void read_completions();

  int fd_ = -1;
  void* memory_ = nullptr;
  size_t memory_bytes_ = 0;
  RingEntry* entries_ = nullptr;
  size_t entries_bytes_ = 0;
  uint32_t entry_mask_ = 0;
  uint32_t* shared_tail_ = nullptr;
  RingCompletion* completions_ = nullptr;
  uint32_t completion_mask_ = 0;
  uint32_t* completion_head_ = nullptr;
  uint32_t* completion_tail_ = nullptr;
  uint64_t operations_ = 0;
  uint32_t tail_ = 0;
  /// Entries that the kernel did not take yet, and entries that it took and did not answer yet.
  uint32_t unsubmitted_ = 0, outstanding_ = 0;
  /// How many entries the batch has, and how often it was cancelled.
  uint32_t batch_ = 0, cancels_ = 0;
  std::vector<Result> results_;
};

}  // namespace core
