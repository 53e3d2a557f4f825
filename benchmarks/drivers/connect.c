/* Connects to a live listener in C: socket(2), connect(2), reset. The limit of such connections. */
#include "driver.h"

int main(int argc, char **argv) {
  struct run run = begin(argc, argv);
  for (; goes_on(&run); run.count++) {
    const int fd = tcp_socket();
    must(connect_to(fd, &run) == 0, "connect to the listener");
    reset(fd);
  }
  return end(&run);
}
