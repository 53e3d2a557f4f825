// The option table. Only option_numbers.h, syscall.cc and this file distinguish platforms by #ifdef.
#include "core/option.h"

#include "core/option_numbers.h"
#include "core/structure.h"

namespace core {

namespace {

constexpr const char* kAdmin = "CAP_NET_ADMIN";
constexpr int64_t kMostInt = INT32_MAX;
constexpr int64_t kMostUnsigned = UINT32_MAX;

// The number of an address or a path MTU mode: ip(7), RFC 5014. Where a platform lacks the option, they are
// not used.
#ifdef __linux__
constexpr Word kPathMtuDiscovery[] = {
    {"dont", IP_PMTUDISC_DONT},   {"want", IP_PMTUDISC_WANT},           {"do", IP_PMTUDISC_DO},
    {"probe", IP_PMTUDISC_PROBE}, {"interface", IP_PMTUDISC_INTERFACE}, {"omit", IP_PMTUDISC_OMIT}};
constexpr Word kAddressPreferences[] = {{"public", IPV6_PREFER_SRC_PUBLIC},
                                        {"temporary", IPV6_PREFER_SRC_TMP},
                                        {"default", IPV6_PREFER_SRC_PUBTMP_DEFAULT}};
#else
constexpr Word kPathMtuDiscovery[] = {{"want", 1}};
constexpr Word kAddressPreferences[] = {{"default", 0}};
#endif

constexpr Option of_kind(Kind kind, Option row) {
  row.kind = kind;
  return row;
}

constexpr Option flag(Option row) { return row; }

constexpr Option integer(int64_t low, int64_t high, int64_t sample, Option row) {
  row.kind = Kind::integer;
  row.low = low;
  row.high = high;
  row.sample = row.reads_back = sample;
  return row;
}

constexpr Option text(const char* sample, Option row) {
  row.kind = Kind::text;
  row.sample_text = sample;
  return row;
}

constexpr Option word(std::span<const Word> words, const char* sample, Option row) {
  row.kind = Kind::word;
  row.words = words;
  row.sample_text = sample;
  return row;
}

constexpr Option structure(std::span<const char* const> (*fields)(), Option row) {
  row.kind = Kind::structure;
  row.access = Access::read_only;
  row.fields = fields;
  return row;
}

constexpr Option sampled(int64_t sample, Option row) {
  row.sample = row.reads_back = sample;
  return row;
}

constexpr Option read_only(Option row) {
  row.access = Access::read_only;
  return row;
}

constexpr Option write_only(Option row) {
  row.access = Access::write_only;
  return row;
}

constexpr Option needs(const char* capability, Option row) {
  row.capability = capability;
  return row;
}

constexpr Option reads_back(int64_t value, const char* caveat, Option row) {
  row.reads_back = value;
  row.caveat = caveat;
  return row;
}

#define SOL(CONSTANT) #CONSTANT, SOL_SOCKET, CONSTANT
#define IP(CONSTANT) #CONSTANT, IPPROTO_IP, CONSTANT
#define IPV6(CONSTANT) #CONSTANT, IPPROTO_IPV6, CONSTANT
#define TCP(CONSTANT) #CONSTANT, IPPROTO_TCP, CONSTANT

// clang-format off: a table is read by its columns.
constexpr Option kOptions[] = {
    flag({"reuseAddress", SOL(SO_REUSEADDR), "2.0", "socket(7)"}),
    flag({"reusePort", SOL(SO_REUSEPORT), "3.9", "socket(7)"}),
    sampled(5, of_kind(Kind::seconds, {"lingerSeconds", SOL(SO_LINGER), "2.0", "socket(7)"})),
    flag({"keepAlive", SOL(SO_KEEPALIVE), "2.0", "socket(7)"}),
    reads_back(2 * 30000, "Linux doubles it, for its own bookkeeping",
               integer(0, kMostInt, 30000, {"receiveBufferBytes", SOL(SO_RCVBUF), "2.0", "socket(7)"})),
    reads_back(2 * 30000, "Linux doubles it, for its own bookkeeping",
               integer(0, kMostInt, 30000, {"sendBufferBytes", SOL(SO_SNDBUF), "2.0", "socket(7)"})),
    write_only(
        needs(kAdmin, integer(0, kMostInt, 30000,
                              {"forcedReceiveBufferBytes", SOL(SO_RCVBUFFORCE), "2.6.14", "socket(7)"}))),
    write_only(needs(kAdmin, integer(0, kMostInt, 30000,
                                     {"forcedSendBufferBytes", SOL(SO_SNDBUFFORCE), "2.6.14", "socket(7)"}))),
    integer(0, 3, 3, {"bufferLockBits", SOL(SO_BUF_LOCK), "5.14", "linux/socket.h"}),
    integer(0, kMostInt, 7, {"receiveLowWaterBytes", SOL(SO_RCVLOWAT), "2.4", "socket(7)"}),
    read_only(integer(1, 1, 1, {"sendLowWaterBytes", SOL(SO_SNDLOWAT), "2.4", "socket(7)"})),
    text("lo", {"device", SOL(SO_BINDTODEVICE), "2.0", "socket(7)"}),
    integer(0, kMostInt, 1, {"deviceIndex", SOL(SO_BINDTOIFINDEX), "5.0", "linux commit f5dd3d0c9638"}),
    needs(kAdmin, integer(0, kMostUnsigned, 0x80000007, {"mark", SOL(SO_MARK), "2.6.25", "socket(7)"})),
    integer(0, kMostUnsigned, 5, {"priority", SOL(SO_PRIORITY), "2.0", "socket(7)"}),
    flag({"outOfBandInline", SOL(SO_OOBINLINE), "2.0", "socket(7)"}),
    flag({"dontRoute", SOL(SO_DONTROUTE), "2.0", "socket(7)"}),
    needs(kAdmin, flag({"debug", SOL(SO_DEBUG), "2.0", "socket(7)"})),
    integer(-1, kMostInt, 0, {"incomingCpu", SOL(SO_INCOMING_CPU), "4.4", "socket(7)"}),
    read_only(
        integer(0, kMostUnsigned, 0, {"incomingNapiId", SOL(SO_INCOMING_NAPI_ID), "4.12", "socket(7)"})),
    needs(kAdmin, integer(0, kMostInt, 7, {"busyPollUs", SOL(SO_BUSY_POLL), "3.11", "socket(7)"})),
    needs(kAdmin, flag({"preferBusyPoll", SOL(SO_PREFER_BUSY_POLL), "5.11", "linux commit 7fd3253a7de6"})),
    sampled(1000000,
            of_kind(Kind::rate, {"maxPacingBytesPerSecond", SOL(SO_MAX_PACING_RATE), "3.13", "tc-fq(8)"})),
    flag({"transmitRehash", SOL(SO_TXREHASH), "5.18", "linux commit 26859240e4ee"}),
    flag({"receiveTimestamps", SOL(SO_TIMESTAMP), "2.0", "socket(7)"}),
    flag({"receiveTimestampsNs", SOL(SO_TIMESTAMPNS), "2.6.22", "socket(7)"}),
    flag({"selectErrorQueue", SOL(SO_SELECT_ERR_QUEUE), "3.10", "socket(7)"}),
    integer(-1, kMostInt, 7, {"peekOffsetBytes", SOL(SO_PEEK_OFF), "6.10", "socket(7)"}),
    needs(kAdmin, write_only(of_kind(Kind::program, {"filter", SOL(SO_ATTACH_FILTER), "2.2", "socket(7)"}))),
    flag({"lockFilter", SOL(SO_LOCK_FILTER), "3.9", "socket(7)"}),
    write_only(
        of_kind(Kind::program, {"reusePortFilter", SOL(SO_ATTACH_REUSEPORT_CBPF), "4.6", "socket(7)"})),
    read_only(of_kind(Kind::unsigned64, {"cookie", SOL(SO_COOKIE), "4.12", "socket(7)"})),
    read_only(of_kind(Kind::unsigned64,
                      {"namespaceCookie", SOL(SO_NETNS_COOKIE), "5.14", "linux commit e8b9eab99232"})),
    structure(memory_fields, {"memory", SOL(SO_MEMINFO), "4.12", "sock_diag(7), SKMEMINFO"}),
    read_only(integer(0, kMostInt, 0, {"protocol", SOL(SO_PROTOCOL), "2.6.32", "socket(7)"})),
    read_only(integer(0, kMostInt, 0, {"domain", SOL(SO_DOMAIN), "2.6.32", "socket(7)"})),
    read_only(flag({"listening", SOL(SO_ACCEPTCONN), "2.0", "socket(7)"})),
    // Linux takes these on IPv6 sockets too.
    flag({"bindAddressNoPort", IP(IP_BIND_ADDRESS_NO_PORT), "4.2", "ip(7)"}),
    of_kind(Kind::range, {"localPortRange", IP(IP_LOCAL_PORT_RANGE), "6.3", "ip(7)"}),
    flag({"freeBind", IP(IP_FREEBIND), "2.4", "ip(7)"}),
    needs(kAdmin, flag({"transparent", IP(IP_TRANSPARENT), "2.6.24", "ip(7)"})),
    read_only(of_kind(Kind::address,
                      {"originalDestination", IP(SO_ORIGINAL_DST), "2.4", "linux/netfilter_ipv4.h"})),
    integer(0, 255, 16, {"typeOfService", IP(IP_TOS), "2.0", "ip(7)"}),
    integer(1, 255, 42, {"timeToLive", IP(IP_TTL), "2.0", "ip(7)"}),
    integer(0, 255, 42, {"minTimeToLive", IP(IP_MINTTL), "2.6.34", "ip(7)"}),
    read_only(integer(68, kMostInt, 0, {"pathMtuBytes", IP(IP_MTU), "2.2", "ip(7)"})),
    word(kPathMtuDiscovery, "do", {"pathMtuDiscovery", IP(IP_MTU_DISCOVER), "2.2", "ip(7)"}),
    flag({"receiveErrors", IP(IP_RECVERR), "2.2", "ip(7)"}),
    flag({"ipv6Only", IPV6(IPV6_V6ONLY), "2.4.21", "ipv6(7)"}),
    integer(-1, 255, 16, {"trafficClass", IPV6(IPV6_TCLASS), "2.6.14", "RFC 3542"}),
    integer(-1, 255, 42, {"unicastHops", IPV6(IPV6_UNICAST_HOPS), "2.2", "ipv6(7)"}),
    integer(0, 255, 42, {"minHopCount", IPV6(IPV6_MINHOPCOUNT), "2.6.35", "RFC 5082"}),
    flag({"ipv6FreeBind", IPV6(IPV6_FREEBIND), "4.15", "ip(7), IP_FREEBIND"}),
    needs(kAdmin, flag({"ipv6Transparent", IPV6(IPV6_TRANSPARENT), "2.6.37", "ip(7), IP_TRANSPARENT"})),
    read_only(of_kind(Kind::address, {"ipv6OriginalDestination", IPV6(IP6T_SO_ORIGINAL_DST), "3.7",
                                      "linux/netfilter_ipv6/ip6_tables.h"})),
    word(kAddressPreferences, "public",
         {"addressPreference", IPV6(IPV6_ADDR_PREFERENCES), "2.6.26", "RFC 5014"}),
    flag({"autoFlowLabel", IPV6(IPV6_AUTOFLOWLABEL), "3.17", "RFC 6438"}),
    read_only(integer(1280, kMostInt, 0, {"ipv6PathMtuBytes", IPV6(IPV6_MTU), "2.2", "ipv6(7)"})),
    word(kPathMtuDiscovery, "do", {"ipv6PathMtuDiscovery", IPV6(IPV6_MTU_DISCOVER), "2.2", "ipv6(7)"}),
    flag({"ipv6ReceiveErrors", IPV6(IPV6_RECVERR), "2.2", "ipv6(7)"}),
    flag({"noDelay", TCP(TCP_NODELAY), "2.0", "tcp(7)"}),
    flag({"cork", TCP(TCP_CORK), "2.2", "tcp(7)"}),
    flag({"quickAck", TCP(TCP_QUICKACK), "2.4.4", "tcp(7)"}),
    integer(88, 32767, 1000, {"maxSegmentBytes", TCP(TCP_MAXSEG), "2.0", "tcp(7)"}),
    integer(0, kMostInt, 30000, {"windowClampBytes", TCP(TCP_WINDOW_CLAMP), "2.4", "tcp(7)"}),
    integer(1, 127, 3, {"synRetries", TCP(TCP_SYNCNT), "2.4", "tcp(7)"}),
    integer(0, kMostInt, 5000, {"userTimeoutMs", TCP(TCP_USER_TIMEOUT), "2.6.37", "tcp(7)"}),
    integer(1000, 120000, 5000,
            {"maxRetransmitTimeoutMs", TCP(TCP_RTO_MAX_MS), "6.15", "linux commit 54a378f43425"}),
    integer(1, kMostInt, 100000,
            {"minRetransmitTimeoutUs", TCP(TCP_RTO_MIN_US), "6.15", "linux commit f38805c5d26f"}),
    integer(1, kMostInt, 100000,
            {"maxAckDelayUs", TCP(TCP_DELACK_MAX_US), "6.15", "linux commit 9552f90835ef"}),
    flag({"thinLinearTimeouts", TCP(TCP_THIN_LINEAR_TIMEOUTS), "2.6.34", "tcp-thin.rst"}),
    integer(0, kMostInt, 1000, {"transmitDelayUs", TCP(TCP_TX_DELAY), "5.3", "linux commit a842fe1425cb"}),
    integer(1, 32767, 42, {"keepAliveIdleSeconds", TCP(TCP_KEEPIDLE), "2.4", "tcp(7)"}),
    integer(1, 32767, 42, {"keepAliveIntervalSeconds", TCP(TCP_KEEPINTVL), "2.4", "tcp(7)"}),
    integer(1, 127, 3, {"keepAliveProbes", TCP(TCP_KEEPCNT), "2.4", "tcp(7)"}),
    integer(-1, kMostInt, 42, {"finWait2Seconds", TCP(TCP_LINGER2), "2.4", "tcp(7)"}),
    integer(0, kMostInt, 3, {"deferAcceptSeconds", TCP(TCP_DEFER_ACCEPT), "2.4", "tcp(7)"}),
    integer(0, kMostInt, 5, {"fastOpenBacklog", TCP(TCP_FASTOPEN), "3.7", "tcp(7)"}),
    flag({"fastOpenConnect", TCP(TCP_FASTOPEN_CONNECT), "4.11", "tcp(7)"}),
    of_kind(Kind::bytes, {"fastOpenKey", TCP(TCP_FASTOPEN_KEY), "4.15", "linux commit 1fba70e5b6be"}),
    flag({"fastOpenNoCookie", TCP(TCP_FASTOPEN_NO_COOKIE), "4.15", "linux commit 71c02379c762"}),
    text("reno", {"congestion", TCP(TCP_CONGESTION), "2.6.13", "tcp(7)"}),
    structure(congestion_fields, {"congestionInformation", TCP(TCP_CC_INFO), "4.1", "linux/inet_diag.h"}),
    text("", {"upperLayerProtocol", TCP(TCP_ULP), "4.13", "linux tls.rst"}),
    write_only(of_kind(Kind::signature, {"md5Signature", TCP(TCP_MD5SIG), "2.6.20", "RFC 2385"})),
    integer(0, kMostUnsigned, 16384, {"notSentLowWaterBytes", TCP(TCP_NOTSENT_LOWAT), "3.12", "tcp(7)"}),
    structure(information_fields, {"information", TCP(TCP_INFO), "2.4", "tcp(7)"}),
    read_only(flag({"multipath", TCP(TCP_IS_MPTCP), "6.3", "linux commit c41c128c38af"})),
    flag({"saveSyn", TCP(TCP_SAVE_SYN), "4.2", "tcp(7)"}),
    read_only(of_kind(Kind::bytes, {"savedSyn", TCP(TCP_SAVED_SYN), "4.2", "linux commit cd8ae85299d5"})),
};
// clang-format on

}  // namespace

std::span<const Option> options() { return kOptions; }

bool is_ipv6_only(const Option& option) { return option.level == IPPROTO_IPV6; }

}  // namespace core
