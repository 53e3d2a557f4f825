/* bind(2) to the peer's address, connect(2): joined to itself at once; checked, then reset. */
#include "self.h"

static void prepare(int fd, const struct run *run) {
  must(bind(fd, (const struct sockaddr *)&run->peer, sizeof run->peer) == 0, "bind");
}

int main(int argc, char **argv) { return self_connects(argc, argv, prepare); }
