/*
 * The C loop on io_uring: 32 connects on one socket, each after the refusal of the one before. One
 * io_uring_enter(2) submits all of them and waits. Raw system calls, so liburing is not needed.
 */
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "driver.h"

enum { kChain = 32 };

struct ring {
  int fd;
  unsigned *submission_tail, *submission_mask, *submission_array;
  unsigned *completion_head, *completion_tail, *completion_mask;
  struct io_uring_sqe *submissions;
  struct io_uring_cqe *completions;
};

static void *map(int fd, size_t length, off_t offset) {
  void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
  must(memory != MAP_FAILED, "mmap of the ring");
  return memory;
}

static struct ring open_ring(void) {
  struct io_uring_params made = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
  struct ring ring = {.fd = (int)syscall(__NR_io_uring_setup, kChain, &made)};
  if (ring.fd < 0 && errno == EINVAL) { /* Linux before 6.1 */
    made = (struct io_uring_params){0};
    ring.fd = (int)syscall(__NR_io_uring_setup, kChain, &made);
  }
  must(ring.fd >= 0, "io_uring_setup");
  const size_t submission_bytes = made.sq_off.array + made.sq_entries * sizeof(unsigned);
  const size_t completion_bytes = made.cq_off.cqes + made.cq_entries * sizeof(struct io_uring_cqe);
  char *submission = map(ring.fd, submission_bytes, IORING_OFF_SQ_RING);
  char *completion = map(ring.fd, completion_bytes, IORING_OFF_CQ_RING);
  ring.submissions = map(ring.fd, made.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
  ring.submission_tail = (unsigned *)(submission + made.sq_off.tail);
  ring.submission_mask = (unsigned *)(submission + made.sq_off.ring_mask);
  ring.submission_array = (unsigned *)(submission + made.sq_off.array);
  ring.completion_head = (unsigned *)(completion + made.cq_off.head);
  ring.completion_tail = (unsigned *)(completion + made.cq_off.tail);
  ring.completion_mask = (unsigned *)(completion + made.cq_off.ring_mask);
  ring.completions = (struct io_uring_cqe *)(completion + made.cq_off.cqes);
  return ring;
}

static void submit_connect(struct ring *ring, int fd, const struct run *run, int is_last) {
  const unsigned tail = *ring->submission_tail;
  const unsigned index = tail & *ring->submission_mask;
  struct io_uring_sqe *entry = &ring->submissions[index];
  memset(entry, 0, sizeof *entry);
  entry->opcode = IORING_OP_CONNECT;
  entry->fd = fd;
  entry->addr = (uint64_t)(uintptr_t)&run->peer;
  entry->off = sizeof run->peer;
  entry->flags = is_last ? 0 : IOSQE_IO_HARDLINK;
  ring->submission_array[index] = index;
  __atomic_store_n(ring->submission_tail, tail + 1, __ATOMIC_RELEASE);
}

int main(int argc, char **argv) {
  struct run run = begin(argc, argv);
  struct ring ring = open_ring();
  const int fd = tcp_socket();
  while (monotonic_ns() < run.ends_ns) {
    for (int i = 1; i <= kChain; i++) submit_connect(&ring, fd, &run, i == kChain);
    must(syscall(__NR_io_uring_enter, ring.fd, kChain, kChain, IORING_ENTER_GETEVENTS, NULL, 0) == kChain,
         "io_uring_enter");
    unsigned head = *ring.completion_head;
    for (; head != __atomic_load_n(ring.completion_tail, __ATOMIC_ACQUIRE); head++) {
      errno = -ring.completions[head & *ring.completion_mask].res;
      must(errno == ECONNREFUSED, "connect to a dead port");
      run.count++;
    }
    __atomic_store_n(ring.completion_head, head, __ATOMIC_RELEASE);
  }
  return end(&run);
}
