/*
 * The best C loop, the limit for attempts: one socket, connect(2) again after each refusal. The third
 * argument is how many such loops run at the same time, each in its own process.
 */
#include <sys/wait.h>

#include "driver.h"

static uint64_t attempts(const struct run *begun) {
  struct run run = *begun;
  const int fd = tcp_socket();
  for (; goes_on(&run); run.count++) {
    must(connect_to(fd, &run) < 0 && errno == ECONNREFUSED, "connect to a dead port");
  }
  return run.count;
}

int main(int argc, char **argv) {
  const int others = argc > 3 ? atoi(argv[3]) - 1 : 0;
  int counts[2];
  must(pipe(counts) == 0, "pipe");
  struct run run = begin(argc, argv);
  for (int i = 0; i < others; i++) {
    const pid_t child = fork();
    must(child >= 0, "fork");
    if (child > 0) continue;
    const uint64_t count = attempts(&run);
    return write(counts[1], &count, sizeof count) == sizeof count ? 0 : 1;
  }
  run.count = attempts(&run);
  for (int i = 0; i < others; i++) {
    uint64_t count;
    must(read(counts[0], &count, sizeof count) == sizeof count, "read");
    run.count += count;
    wait(NULL);
  }
  return end(&run);
}
