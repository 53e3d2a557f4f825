/* IP_LOCAL_PORT_RANGE of only the peer's port, connect(2): joined to itself at once; checked, then reset. */
#include "self.h"

static void prepare(int fd, const struct run *run) {
  const uint32_t port = ntohs(run->peer.sin_port);
  const uint32_t range = port << 16 | port;
  must(setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range) == 0, "IP_LOCAL_PORT_RANGE");
}

int main(int argc, char **argv) { return self_connects(argc, argv, prepare); }
