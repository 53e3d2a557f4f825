/*
 * The live listener that others connect to: accepts, waits until the connection has been reset, closes.
 * Arguments: port. Runs until it is told to stop, or its parent ends.
 */
#include <signal.h>
#include <sys/prctl.h>

#include "driver.h"

int main(int argc, char **argv) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const struct run run = begin(argc, argv);
  const int listener = tcp_socket();
  const int on = 1;
  must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0, "SO_REUSEADDR");
  must(bind(listener, (const struct sockaddr *)&run.peer, sizeof run.peer) == 0, "bind");
  must(listen(listener, SOMAXCONN) == 0, "listen");
  puts("{}");
  fflush(stdout);
  char byte;
  for (;;) {
    const int fd = accept(listener, NULL, NULL);
    must(fd >= 0 || errno == ECONNABORTED, "accept");
    if (fd < 0) continue;
    while (recv(fd, &byte, 1, 0) > 0) continue;
    close(fd);
  }
}
