/* The plain C loop: socket(2), connect(2), close(2). */
#include "driver.h"

int main(int argc, char **argv) {
  struct run run = begin(argc, argv);
  for (; goes_on(&run); run.count++) {
    const int fd = tcp_socket();
    must(connect_to(fd, &run) < 0 && errno == ECONNREFUSED, "connect to a dead port");
    close(fd);
  }
  return end(&run);
}
