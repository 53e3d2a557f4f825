/* socket(2), bind(2) with port 0, connect(2), close(2). */
#include "driver.h"

int main(int argc, char **argv) {
  struct run run = begin(argc, argv);
  struct sockaddr_in local = run.peer;
  local.sin_port = 0;
  for (; goes_on(&run); run.count++) {
    const int fd = tcp_socket();
    must(bind(fd, (const struct sockaddr *)&local, sizeof local) == 0, "bind");
    must(connect_to(fd, &run) < 0 && errno == ECONNREFUSED, "connect to a dead port");
    close(fd);
  }
  return end(&run);
}
