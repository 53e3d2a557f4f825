/* The best C loop: one socket, connect(2) again after each refusal. It stands for the limit. */
#include "driver.h"

int main(int argc, char **argv) {
  struct run run = begin(argc, argv);
  const int fd = tcp_socket();
  for (; goes_on(&run); run.count++) {
    must(connect_to(fd, &run) < 0 && errno == ECONNREFUSED, "connect to a dead port");
  }
  return end(&run);
}
