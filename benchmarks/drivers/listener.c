/*
 * The live listener: every millisecond it accepts and closes all waiting connections. In between it sleeps,
 * so that the drivers measure the connect and not the wake-up of another process. Arguments: port. Runs until
 * a signal or until its parent ends.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>

#include "driver.h"

enum { kPauseUs = 1000 };

int main(int argc, char **argv) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  struct run run = begin(argc, argv);
  const int listener = tcp_socket();
  const int on = 1;
  must(fcntl(listener, F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
  must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0, "SO_REUSEADDR");
  /* At every address of loopback, because connectMany() connects to each address once; and at no other
   * device. */
  must(setsockopt(listener, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof "lo") == 0, "SO_BINDTODEVICE");
  run.peer.sin_addr.s_addr = htonl(INADDR_ANY);
  must(bind(listener, (const struct sockaddr *)&run.peer, sizeof run.peer) == 0, "bind");
  must(listen(listener, SOMAXCONN) == 0, "listen");
  puts("{}");
  fflush(stdout);
  for (;;) {
    usleep(kPauseUs);
    for (int fd = 0; fd >= 0;) {
      fd = accept(listener, NULL, NULL);
      must(fd >= 0 || errno == EAGAIN || errno == ECONNABORTED, "accept");
      if (fd >= 0) close(fd);
    }
  }
}
