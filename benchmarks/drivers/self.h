/* Self-connects, one after another: a new socket is prepared, joined to itself, checked and reset. */
#pragma once

#include "driver.h"

static inline int is_joined_to_itself(int fd) {
  struct sockaddr_in local, peer;
  socklen_t length = sizeof local;
  must(getsockname(fd, (struct sockaddr *)&local, &length) == 0, "getsockname");
  length = sizeof peer;
  must(getpeername(fd, (struct sockaddr *)&peer, &length) == 0, "getpeername");
  return local.sin_port == peer.sin_port && local.sin_addr.s_addr == peer.sin_addr.s_addr;
}

static inline int self_connects(int argc, char **argv, void (*prepare)(int fd, const struct run *run)) {
  struct run run = begin(argc, argv);
  for (; goes_on(&run); run.count++) {
    const int fd = tcp_socket();
    prepare(fd, &run);
    must(connect_to(fd, &run) == 0, "connect");
    must(is_joined_to_itself(fd), "not joined to itself");
    reset(fd);
  }
  return end(&run);
}
