// The options of tcp(7), ip(7), ipv6(7) and socket(7) that have no row in the table, and why; and the levels.
#include "core/option.h"
#include "core/option_numbers.h"

namespace core {

namespace {

constexpr const char* kDatagrams = "for datagrams or raw sockets: TCP ignores or refuses it";
constexpr const char* kMulticast = "multicast: not for TCP";
constexpr const char* kControl = "asks for control messages that Linux does not pass for TCP";
constexpr const char* kUnix = "for Unix domain sockets, or for the labels of a security module";
constexpr const char* kRepair = "for checkpoint and restore of a connection (CRIU)";
constexpr const char* kAuthentication =
    "keys of RFC 5925 in structs of many fields, in kernels built with TCP_AO only";
constexpr const char* kExtension = "a header built by the program; needs CAP_NET_RAW, and routers drop it";
constexpr const char* kPolicy = "a struct of IPsec policy";
constexpr const char* kBpf = "takes the fd of an eBPF program that bpf(2) loaded";
constexpr const char* kWaits =
    "for blocking calls: every socket here is nonblocking, and waits have deadlineMs";
constexpr const char* kCalled = "a method has it";

#define LEVEL(CONSTANT) #CONSTANT, CONSTANT, CONSTANT
#define SOL(CONSTANT) #CONSTANT, SOL_SOCKET, CONSTANT
#define IP(CONSTANT) #CONSTANT, IPPROTO_IP, CONSTANT
#define IPV6(CONSTANT) #CONSTANT, IPPROTO_IPV6, CONSTANT
#define TCP(CONSTANT) #CONSTANT, IPPROTO_TCP, CONSTANT

constexpr OtherOption kOthers[] = {
    {LEVEL(SOL_SOCKET), ""},
    {LEVEL(IPPROTO_IP), ""},
    {LEVEL(IPPROTO_IPV6), ""},
    {LEVEL(IPPROTO_TCP), ""},
    {LEVEL(IPPROTO_MPTCP), ""},
    {LEVEL(SOL_MPTCP), ""},
    {LEVEL(SOL_TLS), ""},
    {SOL(SO_ERROR), "a method has it: takeError()"},
    {SOL(SO_TYPE), "always SOCK_STREAM"},
    {SOL(SO_RCVTIMEO), kWaits},
    {SOL(SO_SNDTIMEO), kWaits},
    {SOL(SO_PEERNAME), kCalled},
    {SOL(SO_BROADCAST), kDatagrams},
    {SOL(SO_NO_CHECK), kDatagrams},
    {SOL(SO_RXQ_OVFL), kControl},
    {SOL(SO_NOFCS), kDatagrams},
    {SOL(SO_WIFI_STATUS), kControl},
    {SOL(SO_TXTIME), kDatagrams},
    {SOL(SO_RCVMARK), kControl},
    {SOL(SO_RCVPRIORITY), kControl},
    {SOL(SO_BSDCOMPAT), "does nothing since Linux 2.2"},
    {SOL(SO_PASSCRED), kUnix},
    {SOL(SO_PASSSEC), kUnix},
    {SOL(SO_PEERCRED), kUnix},
    {SOL(SO_PEERGROUPS), kUnix},
    {SOL(SO_PEERSEC), kUnix},
    {SOL(SO_TIMESTAMPING), "bits of linux/net_tstamp.h, and control messages"},
    {SOL(SO_ZEROCOPY), "for send(2) with MSG_ZEROCOPY, which send() does not use"},
    {SOL(SO_ATTACH_BPF), kBpf},
    {SOL(SO_ATTACH_REUSEPORT_EBPF), kBpf},
    {SOL(SO_DETACH_FILTER), "has no value: set any 4 bytes"},
    {SOL(SO_DETACH_BPF), "the same number as SO_DETACH_FILTER"},
    {SOL(SO_DETACH_REUSEPORT_BPF), "has no value: set any 4 bytes"},
    {SOL(SO_BPF_EXTENSIONS), "a fact about the kernel, not about a socket"},
    {SOL(SO_CNX_ADVICE), "has no value that can be read: set the int 1 to look for another route"},
    {SOL(SO_BUSY_POLL_BUDGET), "tunes the driver's polling; it cannot be read"},
    {SOL(SO_RESERVE_MEM), "needs a memory cgroup that accounts for sockets"},
    {IP(IP_OPTIONS), kExtension},
    {IP(IP_HDRINCL), kDatagrams},
    {IP(IP_NODEFRAG), kDatagrams},
    {IP(IP_ROUTER_ALERT), kDatagrams},
    {IP(IP_CHECKSUM), kDatagrams},
    {IP(IP_UNICAST_IF), kDatagrams},
    {IP(IP_PASSSEC), kDatagrams},
    {IP(IP_PKTINFO), kControl},
    {IP(IP_RECVOPTS), kControl},
    {IP(IP_RETOPTS), kControl},
    {IP(IP_RECVTOS), kControl},
    {IP(IP_RECVTTL), kControl},
    {IP(IP_RECVORIGDSTADDR), kControl},
    {IP(IP_ORIGDSTADDR),
     "the same number as IP_RECVORIGDSTADDR; of a redirected TCP connection: originalDestination"},
    {IP(IP_RECVFRAGSIZE), kControl},
    {IP(IP_RECVERR_RFC4884), kControl},
    {IP(IP_PKTOPTIONS), kControl},
    {IP(IP_IPSEC_POLICY), kPolicy},
    {IP(IP_XFRM_POLICY), kPolicy},
    {IP(IP_PROTOCOL), kDatagrams},
    {IP(IP_MSFILTER), kMulticast},
    {IP(IP_MULTICAST_ALL), kMulticast},
    {IP(IP_MULTICAST_IF), kMulticast},
    {IP(IP_MULTICAST_LOOP), kMulticast},
    {IP(IP_MULTICAST_TTL), kMulticast},
    {IP(IP_ADD_MEMBERSHIP), kMulticast},
    {IP(IP_ADD_SOURCE_MEMBERSHIP), kMulticast},
    {IP(IP_DROP_MEMBERSHIP), kMulticast},
    {IP(IP_DROP_SOURCE_MEMBERSHIP), kMulticast},
    {IP(IP_BLOCK_SOURCE), kMulticast},
    {IP(IP_UNBLOCK_SOURCE), kMulticast},
    {IPV6(IPV6_ADDRFORM), "turns an IPv6 socket into an IPv4 socket: open one of family 4"},
    {IPV6(IPV6_ADD_MEMBERSHIP), kMulticast},
    {IPV6(IPV6_DROP_MEMBERSHIP), kMulticast},
    {IPV6(IPV6_JOIN_ANYCAST), kMulticast},
    {IPV6(IPV6_LEAVE_ANYCAST), kMulticast},
    {IPV6(IPV6_MULTICAST_ALL), kMulticast},
    {IPV6(IPV6_MULTICAST_HOPS), kMulticast},
    {IPV6(IPV6_MULTICAST_IF), kMulticast},
    {IPV6(IPV6_MULTICAST_LOOP), kMulticast},
    {IPV6(IPV6_AUTHHDR), "no kernel has it any more"},
    {IPV6(IPV6_DSTOPTS), kExtension},
    {IPV6(IPV6_HOPOPTS), kExtension},
    {IPV6(IPV6_RTHDR), kExtension},
    {IPV6(IPV6_RTHDRDSTOPTS), kExtension},
    {IPV6(IPV6_NEXTHOP), kExtension},
    {IPV6(IPV6_FLOWINFO), kControl},
    {IPV6(IPV6_FLOWINFO_SEND), "needs a flow label of IPV6_FLOWLABEL_MGR in the peer's address"},
    {IPV6(IPV6_FLOWLABEL_MGR), "a struct of leases of flow labels; autoFlowLabel needs none"},
    {IPV6(IPV6_HOPLIMIT), kControl},
    {IPV6(IPV6_PKTINFO), kControl},
    {IPV6(IPV6_RECVPKTINFO), kControl},
    {IPV6(IPV6_RECVHOPLIMIT), kControl},
    {IPV6(IPV6_RECVTCLASS), kControl},
    {IPV6(IPV6_RECVDSTOPTS), kControl},
    {IPV6(IPV6_RECVHOPOPTS), kControl},
    {IPV6(IPV6_RECVRTHDR), kControl},
    {IPV6(IPV6_RECVORIGDSTADDR), kControl},
    {IPV6(IPV6_RECVPATHMTU), kControl},
    {IPV6(IPV6_RECVFRAGSIZE), kControl},
    {IPV6(IPV6_RECVERR_RFC4884), kControl},
    {IPV6(IPV6_PATHMTU), "the same number as ipv6PathMtuBytes, in a struct"},
    {IPV6(IPV6_DONTFRAG), kDatagrams},
    {IPV6(IPV6_CHECKSUM), kDatagrams},
    {IPV6(IPV6_HDRINCL), kDatagrams},
    {IPV6(IPV6_ROUTER_ALERT), kDatagrams},
    {IPV6(IPV6_ROUTER_ALERT_ISOLATE), kDatagrams},
    {IPV6(IPV6_UNICAST_IF), kDatagrams},
    {IPV6(IPV6_IPSEC_POLICY), kPolicy},
    {IPV6(IPV6_XFRM_POLICY), kPolicy},
    {TCP(TCP_MD5SIG_EXT), "md5Signature for a whole prefix or one interface, in a struct"},
    {TCP(TCP_THIN_DUPACK), "does nothing since Linux 4.15"},
    {TCP(TCP_TIMESTAMP), kRepair},
    {TCP(TCP_REPAIR), kRepair},
    {TCP(TCP_REPAIR_QUEUE), kRepair},
    {TCP(TCP_QUEUE_SEQ), kRepair},
    {TCP(TCP_REPAIR_OPTIONS), kRepair},
    {TCP(TCP_REPAIR_WINDOW), kRepair},
    {TCP(TCP_ZEROCOPY_RECEIVE), "maps received pages into memory that mmap(2) of the socket gave"},
    {TCP(TCP_INQ), "asks for a control message with the bytes that are left to read"},
    {TCP(TCP_AO_ADD_KEY), kAuthentication},
    {TCP(TCP_AO_DEL_KEY), kAuthentication},
    {TCP(TCP_AO_INFO), kAuthentication},
    {TCP(TCP_AO_GET_KEYS), kAuthentication},
    {TCP(TCP_AO_REPAIR), kAuthentication},
};

}  // namespace

std::span<const OtherOption> other_options() { return kOthers; }

}  // namespace core
