/* A client on lwIP: connects to dead ports of one host in turn, so that it refuses every SYN.
 * Arguments: its own address, the peer's, how many rounds, then the ports. The tap device is PRECONFIGURED_TAPIF. */
#include <lwip/sockets.h>
#include <lwip/tcpip.h>
#include <netif/tapif.h>
#include <stdio.h>
#include <stdlib.h>

static void signal_ready(void* ready) { sys_sem_signal(ready); }

static void add_interface(struct netif* interface, const char* address) {
  ip4_addr_t own, mask, none = {0};
  ip4addr_aton(address, &own);
  ip4addr_aton("255.255.255.0", &mask);
  LOCK_TCPIP_CORE();
  netif_add(interface, &own, &mask, &none, NULL, tapif_init, tcpip_input);
  netif_set_default(interface);
  netif_set_up(interface);
  netif_set_link_up(interface);
  UNLOCK_TCPIP_CORE();
}

/* Returns whether the connect was refused, as it must be. */
static int connect_once(const char* host, int port) {
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = lwip_htons(port)};
  peer.sin_addr.s_addr = ipaddr_addr(host);
  const int fd = lwip_socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return 0;
  const int result = lwip_connect(fd, (struct sockaddr*)&peer, sizeof(peer));
  lwip_close(fd);
  return result < 0;
}

int main(int count, char** words) {
  sys_sem_t ready;
  sys_sem_new(&ready, 0);
  tcpip_init(signal_ready, &ready);
  sys_sem_wait(&ready);
  static struct netif interface;
  add_interface(&interface, words[1]);
  int refused = 0;
  for (int round = 0; round < atoi(words[3]); round++)
    for (int at = 4; at < count; at++) refused += connect_once(words[2], atoi(words[at]));
  printf("%d refused\n", refused);
  exit(0);
}
