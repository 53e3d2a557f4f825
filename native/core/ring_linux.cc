#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <iterator>
#include <span>

#include "core/ring.h"

namespace core {

/// The kernel's side of a ring, as far as it is used. It is kernel ABI, and the build's headers may lack it:
/// <linux/io_uring.h> came with Linux 5.1.
struct RingEntry {
  uint8_t operation;
  uint8_t flags;
  uint16_t priority;
  int32_t fd;
  uint64_t offset;  ///< connect, bind: the length of the name. socket: the type.
  uint64_t address;
  uint32_t length;
  uint32_t operation_flags;
  uint64_t user_data;
  uint16_t buffer;
  uint16_t personality;
  uint32_t slot;  ///< Counted from 1.
  uint64_t reserved[2];
};
static_assert(sizeof(RingEntry) == 64);

struct RingCompletion {
  uint64_t user_data;
  int32_t result;
  uint32_t flags;
};
static_assert(sizeof(RingCompletion) == 16);

namespace {

/// The numbers of the system calls: the same on every architecture but Alpha.
constexpr long kSetup = 425, kEnter = 426, kRegister = 427;
constexpr uint64_t kOffsetRing = 0, kOffsetEntries = 0x10000000;
constexpr uint32_t kSetupSingleIssuer = 1U << 12;  // Linux 6.0
constexpr uint32_t kSetupDeferTaskrun = 1U << 13;  // Linux 6.1
constexpr uint32_t kFeatureSingleMmap = 1U << 0;   // Linux 5.4
constexpr uint32_t kFeatureExtArg = 1U << 8;       // Linux 5.11
constexpr uint32_t kEnterGetEvents = 1U << 0;
constexpr uint32_t kEnterExtArg = 1U << 3;
constexpr uint32_t kRegisterFiles = 2;
constexpr uint32_t kRegisterProbe = 8;
constexpr uint8_t kAsyncCancel = 14;
constexpr uint32_t kCancelAll = 1U << 0, kCancelAny = 1U << 2;  // Linux 5.19
constexpr uint16_t kProbeSupported = 1U << 0;
constexpr uint8_t kSqeFixedFile = 1U << 0, kSqeLink = 1U << 2, kSqeHardLink = 1U << 3;
constexpr uint64_t kOfCancel = ~uint64_t{0};
/// How often the ring looks whether to stop.
constexpr int64_t kWaitNs = 2'000'000;
/// How often a cancel is repeated: a chain goes on with its next entry when one is cancelled.
constexpr int kMostCancels = 1000;

/// IORING_OP_ CONNECT (5.5), SOCKET (5.19), BIND (6.11), CLOSE (5.6), FIXED_FD_INSTALL (6.8).
constexpr uint8_t kNumbers[] = {16, 45, 56, 19, 54};

uint8_t number_of(RingOperation operation) { return kNumbers[static_cast<size_t>(operation)]; }

struct EntryOffsets {
  uint32_t head, tail, mask, entries, flags, dropped, order, reserved;
  uint64_t address;
};

struct CompletionOffsets {
  uint32_t head, tail, mask, entries, overflow, completions, flags, reserved;
  uint64_t address;
};

struct Setup {
  uint32_t entries, completions, flags, thread_cpu, thread_idle, features, workqueue, reserved[3];
  EntryOffsets entry_offsets;
  CompletionOffsets completion_offsets;
};
static_assert(sizeof(Setup) == 120);

struct Probe {
  uint8_t last;
  uint8_t count;
  uint16_t reserved;
  uint32_t more_reserved[3];
  struct {
    uint8_t number;
    uint8_t reserved;
    uint16_t flags;
    uint32_t more_reserved;
  } operations[64];
};
static_assert(sizeof(Probe) == 16 + 64 * 8);

struct Wait {
  uint64_t signals;
  uint32_t signals_bytes;
  uint32_t padding;
  uint64_t time;
};

struct WaitTime {
  int64_t seconds;
  int64_t nanoseconds;
};

template <typename T>
T* at(void* memory, uint32_t offset) {
  return reinterpret_cast<T*>(static_cast<char*>(memory) + offset);
}

int set_up(uint32_t entries, Setup* out) {
  // With these flags results are delivered only while this thread waits for them: 3 % less time.
  *out = Setup{};
  out->flags = kSetupSingleIssuer | kSetupDeferTaskrun;
  int fd = static_cast<int>(::syscall(kSetup, entries, out));
  if (fd < 0 && errno == EINVAL) {
    *out = Setup{};
    fd = static_cast<int>(::syscall(kSetup, entries, out));
  }
  return fd;
}

void* map(int fd, size_t bytes, uint64_t offset) {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                              static_cast<off_t>(offset));
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

Ring::~Ring() {
  if (memory_ != nullptr) ::munmap(memory_, memory_bytes_);
  if (entries_ != nullptr) ::munmap(entries_, entries_bytes_);
  if (fd_ >= 0) ::close(fd_);
}

Result Ring::open(uint32_t entries, uint32_t slots) {
  // One entry more for each cancel while a batch is unfinished.
  Setup made;
  fd_ = set_up(entries + 1, &made);
  if (fd_ < 0) return -errno;
  if ((made.features & kFeatureSingleMmap) == 0 || (made.features & kFeatureExtArg) == 0) return -EOPNOTSUPP;
  memory_bytes_ =
      std::max<size_t>(made.entry_offsets.order + made.entries * sizeof(uint32_t),
                       made.completion_offsets.completions + made.completions * sizeof(RingCompletion));
  memory_ = map(fd_, memory_bytes_, kOffsetRing);
  if (memory_ == nullptr) return -errno;
  entries_bytes_ = made.entries * sizeof(RingEntry);
  entries_ = static_cast<RingEntry*>(map(fd_, entries_bytes_, kOffsetEntries));
  if (entries_ == nullptr) return -errno;
  entry_mask_ = *at<uint32_t>(memory_, made.entry_offsets.mask);
  shared_tail_ = at<uint32_t>(memory_, made.entry_offsets.tail);
  auto* const order = at<uint32_t>(memory_, made.entry_offsets.order);
  for (uint32_t i = 0; i < made.entries; i++) order[i] = i;
  completions_ = at<RingCompletion>(memory_, made.completion_offsets.completions);
  completion_mask_ = *at<uint32_t>(memory_, made.completion_offsets.mask);
  completion_head_ = at<uint32_t>(memory_, made.completion_offsets.head);
  completion_tail_ = at<uint32_t>(memory_, made.completion_offsets.tail);
  results_.resize(entries);

  Probe probe{};
  if (::syscall(kRegister, fd_, kRegisterProbe, &probe, std::size(probe.operations)) < 0) {
    return -errno;
  }
  for (const auto& one : std::span(probe.operations).first(std::min<size_t>(probe.count, 64)))
    if ((one.flags & kProbeSupported) != 0 && one.number < 64) operations_ |= uint64_t{1} << one.number;

  // Linux 5.19 brought both this operation and the cancel of everything, which a kernel does not announce.
  if (!supports(RingOperation::socket)) return -EOPNOTSUPP;
  if (slots == 0) return 0;
  const std::vector<int> empty(slots, -1);
  return or_errno(::syscall(kRegister, fd_, kRegisterFiles, empty.data(), slots));
}

bool Ring::supports(RingOperation operation) const { return (operations_ >> number_of(operation) & 1) != 0; }

RingEntry* Ring::add(RingOperation operation, Link link) {
  RingEntry* const entry = &entries_[tail_++ & entry_mask_];
  *entry = RingEntry{};
  entry->operation = number_of(operation);
  entry->flags = link == Link::none ? 0 : link == Link::hard ? kSqeHardLink : kSqeLink;
  entry->user_data = batch_;
  results_[batch_++] = kNotRun;
  unsubmitted_++;
  return entry;
}

void Ring::connect(RingSocket socket, const sockaddr_storage& name, socklen_t length, Link link) {
  RingEntry* const entry = add(RingOperation::connect, link);
  entry->fd = socket.number;
  if (socket.is_slot) entry->flags |= kSqeFixedFile;
  entry->address = reinterpret_cast<uintptr_t>(&name);
  entry->offset = length;
}

void Ring::bind(RingSocket socket, const sockaddr_storage& name, socklen_t length, Link link) {
  connect(socket, name, length, link);
  entries_[(tail_ - 1) & entry_mask_].operation = number_of(RingOperation::bind);
}

void Ring::socket(int family, int slot, Link link) {
  RingEntry* const entry = add(RingOperation::socket, link);
  entry->fd = family == 4 ? AF_INET : AF_INET6;
  entry->offset = SOCK_STREAM;
  entry->slot = static_cast<uint32_t>(slot) + 1;
}

void Ring::close_slot(int slot) {
  add(RingOperation::close, Link::none)->slot = static_cast<uint32_t>(slot) + 1;
}

void Ring::install(int slot) {
  RingEntry* const entry = add(RingOperation::install, Link::none);
  entry->fd = slot;
  entry->flags |= kSqeFixedFile;
}

Result Ring::cancel() {
  if (cancels_++ == kMostCancels) return -ETIMEDOUT;
  RingEntry* const entry = &entries_[tail_++ & entry_mask_];
  *entry = RingEntry{};
  entry->operation = kAsyncCancel;
  entry->fd = -1;
  entry->operation_flags = kCancelAll | kCancelAny;
  entry->user_data = kOfCancel;
  unsubmitted_++;
  return enter(1);
}

Result Ring::enter(uint32_t wanted) {
  __atomic_store_n(shared_tail_, tail_, __ATOMIC_RELEASE);
  const WaitTime time = {.seconds = 0, .nanoseconds = kWaitNs};
  const Wait argument = {
      .signals = 0, .signals_bytes = _NSIG / 8, .padding = 0, .time = reinterpret_cast<uintptr_t>(&time)};
  const long taken = ::syscall(kEnter, fd_, unsubmitted_, wanted, kEnterGetEvents | kEnterExtArg, &argument,
                               sizeof argument);
  if (taken < 0 && errno != ETIME && errno != EINTR) return -errno;
  if (taken > 0) {
    unsubmitted_ -= static_cast<uint32_t>(taken);
    outstanding_ += static_cast<uint32_t>(taken);
  }
  read_completions();
  return 0;
}

void Ring::read_completions() {
  uint32_t head = *completion_head_;
  for (; head != __atomic_load_n(completion_tail_, __ATOMIC_ACQUIRE); head++) {
    const RingCompletion& completion = completions_[head & completion_mask_];
    if (completion.user_data != kOfCancel) results_[completion.user_data] = completion.result;
    outstanding_--;
  }
  __atomic_store_n(completion_head_, head, __ATOMIC_RELEASE);
}

}  // namespace core
