/* Shared by the C drivers: arguments, clock, result. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Newer than the headers of some distributions; the number is part of the kernel's ABI. */
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

/* Reading the clock at each attempt would slow the driver. */
enum { kAttemptsPerLook = 64 };

struct run {
  struct sockaddr_in peer;
  int64_t started_ns;
  int64_t ends_ns;
  int64_t started_cpu_ns;
  uint64_t count;
};

static inline int64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t used_ns(int who) {
  struct rusage used;
  getrusage(who, &used);
  const int64_t seconds = used.ru_utime.tv_sec + used.ru_stime.tv_sec;
  return seconds * 1000000000 + (int64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000;
}

/* The CPU time of this process, and of the loops beside it that have ended. */
static inline int64_t cpu_ns(void) { return used_ns(RUSAGE_SELF) + used_ns(RUSAGE_CHILDREN); }

/* Ends the driver at an unexpected result, because a rate that counts errors is wrong. */
static inline void must(int is_fine, const char *what) {
  if (is_fine) return;
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

/* Arguments: port of 127.0.0.1, milliseconds. */
static inline struct run begin(int argc, char **argv) {
  must(argc >= 3, "arguments: port milliseconds");
  struct run run = {.peer = {.sin_family = AF_INET}};
  run.peer.sin_port = htons((uint16_t)atoi(argv[1]));
  run.peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  run.started_cpu_ns = cpu_ns();
  run.started_ns = monotonic_ns();
  run.ends_ns = run.started_ns + (int64_t)atoi(argv[2]) * 1000000;
  return run;
}

static inline int goes_on(const struct run *run) {
  return run->count % kAttemptsPerLook != 0 || monotonic_ns() < run->ends_ns;
}

static inline int tcp_socket(void) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  must(fd >= 0, "socket");
  return fd;
}

static inline int connect_to(int fd, const struct run *run) {
  return connect(fd, (const struct sockaddr *)&run->peer, sizeof run->peer);
}

/* SO_LINGER {1, 0}, then close(2): RST, and no TIME-WAIT. */
static inline void reset(int fd) {
  const struct linger hard = {1, 0};
  must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0, "SO_LINGER");
  close(fd);
}

static inline int end(const struct run *run) {
  const int64_t elapsed_ns = monotonic_ns() - run->started_ns;
  printf("{\"count\":%llu,\"elapsedNs\":%lld,\"cpuNs\":%lld}\n", (unsigned long long)run->count,
         (long long)elapsed_ns, (long long)(cpu_ns() - run->started_cpu_ns));
  return 0;
}
