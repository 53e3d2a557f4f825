// The numbers of every socket option that option.cc and option_others_linux.cc name, as this platform has
// them.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#ifdef __linux__
#include <linux/in6.h>
#include <linux/tcp.h>
#else
#include <netinet/tcp.h>
#endif

#include "core/option.h"

// Linux options that may be newer than the headers of the build, or in headers that cannot be included beside
// libc's. Their numbers are kernel ABI.
#ifdef __linux__
#ifndef IP6T_SO_ORIGINAL_DST
#define IP6T_SO_ORIGINAL_DST 80  // Linux 3.7
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262  // Linux 5.6
#endif
#ifndef IPV6_FLOWINFO
#define IPV6_FLOWINFO 11  // Linux 2.2
#endif
#ifndef IPV6_FLOWINFO_SEND
#define IPV6_FLOWINFO_SEND 33  // Linux 2.2
#endif
#ifndef IPV6_FLOWLABEL_MGR
#define IPV6_FLOWLABEL_MGR 32  // Linux 2.2
#endif
#ifndef IPV6_RECVERR_RFC4884
#define IPV6_RECVERR_RFC4884 31  // Linux 5.9
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51  // Linux 6.3
#endif
#ifndef IP_PROTOCOL
#define IP_PROTOCOL 52  // Linux 6.4
#endif
#ifndef SOL_MPTCP
#define SOL_MPTCP 284  // Linux 5.16
#endif
#ifndef SOL_TLS
#define SOL_TLS 282  // Linux 4.13
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72  // Linux 5.14
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71  // Linux 5.14
#endif
#ifndef SO_ORIGINAL_DST
#define SO_ORIGINAL_DST 80  // Linux 2.4
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK 75  // Linux 5.19
#endif
#ifndef SO_RCVPRIORITY
#define SO_RCVPRIORITY 82  // Linux 6.14
#endif
#ifndef SO_RESERVE_MEM
#define SO_RESERVE_MEM 73  // Linux 5.16
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH 74  // Linux 5.18
#endif
#ifndef TCP_AO_ADD_KEY
#define TCP_AO_ADD_KEY 38  // Linux 6.7
#endif
#ifndef TCP_AO_DEL_KEY
#define TCP_AO_DEL_KEY 39  // Linux 6.7
#endif
#ifndef TCP_AO_GET_KEYS
#define TCP_AO_GET_KEYS 41  // Linux 6.7
#endif
#ifndef TCP_AO_INFO
#define TCP_AO_INFO 40  // Linux 6.7
#endif
#ifndef TCP_AO_REPAIR
#define TCP_AO_REPAIR 42  // Linux 6.7
#endif
#ifndef TCP_DELACK_MAX_US
#define TCP_DELACK_MAX_US 46  // Linux 6.15
#endif
#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43  // Linux 6.3
#endif
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44  // Linux 6.15
#endif
#ifndef TCP_RTO_MIN_US
#define TCP_RTO_MIN_US 45  // Linux 6.15
#endif
#endif

// The same option under the name that macOS gives it.
#if !defined(TCP_KEEPIDLE) && defined(TCP_KEEPALIVE)
#define TCP_KEEPIDLE TCP_KEEPALIVE
#endif
#if !defined(TCP_CORK) && defined(TCP_NOPUSH)
#define TCP_CORK TCP_NOPUSH
#endif

// Of the table's options, those that a platform does not have are absent: supported() is then false.
#ifndef CONSTANT
#define CONSTANT kAbsent
#endif
#ifndef IP6T_SO_ORIGINAL_DST
#define IP6T_SO_ORIGINAL_DST kAbsent
#endif
#ifndef IPV6_ADDR_PREFERENCES
#define IPV6_ADDR_PREFERENCES kAbsent
#endif
#ifndef IPV6_AUTOFLOWLABEL
#define IPV6_AUTOFLOWLABEL kAbsent
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND kAbsent
#endif
#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT kAbsent
#endif
#ifndef IPV6_MTU
#define IPV6_MTU kAbsent
#endif
#ifndef IPV6_MTU_DISCOVER
#define IPV6_MTU_DISCOVER kAbsent
#endif
#ifndef IPV6_RECVERR
#define IPV6_RECVERR kAbsent
#endif
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT kAbsent
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT kAbsent
#endif
#ifndef IP_FREEBIND
#define IP_FREEBIND kAbsent
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE kAbsent
#endif
#ifndef IP_MINTTL
#define IP_MINTTL kAbsent
#endif
#ifndef IP_MTU
#define IP_MTU kAbsent
#endif
#ifndef IP_MTU_DISCOVER
#define IP_MTU_DISCOVER kAbsent
#endif
#ifndef IP_RECVERR
#define IP_RECVERR kAbsent
#endif
#ifndef IP_TRANSPARENT
#define IP_TRANSPARENT kAbsent
#endif
#ifndef SO_ATTACH_FILTER
#define SO_ATTACH_FILTER kAbsent
#endif
#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF kAbsent
#endif
#ifndef SO_BINDTODEVICE
#define SO_BINDTODEVICE kAbsent
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX kAbsent
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK kAbsent
#endif
#ifndef SO_BUSY_POLL
#define SO_BUSY_POLL kAbsent
#endif
#ifndef SO_COOKIE
#define SO_COOKIE kAbsent
#endif
#ifndef SO_DOMAIN
#define SO_DOMAIN kAbsent
#endif
#ifndef SO_INCOMING_CPU
#define SO_INCOMING_CPU kAbsent
#endif
#ifndef SO_INCOMING_NAPI_ID
#define SO_INCOMING_NAPI_ID kAbsent
#endif
#ifndef SO_LOCK_FILTER
#define SO_LOCK_FILTER kAbsent
#endif
#ifndef SO_MARK
#define SO_MARK kAbsent
#endif
#ifndef SO_MAX_PACING_RATE
#define SO_MAX_PACING_RATE kAbsent
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO kAbsent
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE kAbsent
#endif
#ifndef SO_ORIGINAL_DST
#define SO_ORIGINAL_DST kAbsent
#endif
#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF kAbsent
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL kAbsent
#endif
#ifndef SO_PRIORITY
#define SO_PRIORITY kAbsent
#endif
#ifndef SO_PROTOCOL
#define SO_PROTOCOL kAbsent
#endif
#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE kAbsent
#endif
#ifndef SO_SELECT_ERR_QUEUE
#define SO_SELECT_ERR_QUEUE kAbsent
#endif
#ifndef SO_SNDBUFFORCE
#define SO_SNDBUFFORCE kAbsent
#endif
#ifndef SO_TIMESTAMP
#define SO_TIMESTAMP kAbsent
#endif
#ifndef SO_TIMESTAMPNS
#define SO_TIMESTAMPNS kAbsent
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH kAbsent
#endif
#ifndef TCP_CC_INFO
#define TCP_CC_INFO kAbsent
#endif
#ifndef TCP_CONGESTION
#define TCP_CONGESTION kAbsent
#endif
#ifndef TCP_CORK
#define TCP_CORK kAbsent
#endif
#ifndef TCP_DEFER_ACCEPT
#define TCP_DEFER_ACCEPT kAbsent
#endif
#ifndef TCP_DELACK_MAX_US
#define TCP_DELACK_MAX_US kAbsent
#endif
#ifndef TCP_FASTOPEN
#define TCP_FASTOPEN kAbsent
#endif
#ifndef TCP_FASTOPEN_CONNECT
#define TCP_FASTOPEN_CONNECT kAbsent
#endif
#ifndef TCP_FASTOPEN_KEY
#define TCP_FASTOPEN_KEY kAbsent
#endif
#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE kAbsent
#endif
#ifndef TCP_INFO
#define TCP_INFO kAbsent
#endif
#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP kAbsent
#endif
#ifndef TCP_KEEPCNT
#define TCP_KEEPCNT kAbsent
#endif
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE kAbsent
#endif
#ifndef TCP_KEEPINTVL
#define TCP_KEEPINTVL kAbsent
#endif
#ifndef TCP_LINGER2
#define TCP_LINGER2 kAbsent
#endif
#ifndef TCP_MD5SIG
#define TCP_MD5SIG kAbsent
#endif
#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT kAbsent
#endif
#ifndef TCP_QUICKACK
#define TCP_QUICKACK kAbsent
#endif
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS kAbsent
#endif
#ifndef TCP_RTO_MIN_US
#define TCP_RTO_MIN_US kAbsent
#endif
#ifndef TCP_SAVED_SYN
#define TCP_SAVED_SYN kAbsent
#endif
#ifndef TCP_SAVE_SYN
#define TCP_SAVE_SYN kAbsent
#endif
#ifndef TCP_SYNCNT
#define TCP_SYNCNT kAbsent
#endif
#ifndef TCP_THIN_LINEAR_TIMEOUTS
#define TCP_THIN_LINEAR_TIMEOUTS kAbsent
#endif
#ifndef TCP_TX_DELAY
#define TCP_TX_DELAY kAbsent
#endif
#ifndef TCP_ULP
#define TCP_ULP kAbsent
#endif
#ifndef TCP_USER_TIMEOUT
#define TCP_USER_TIMEOUT kAbsent
#endif
#ifndef TCP_WINDOW_CLAMP
#define TCP_WINDOW_CLAMP kAbsent
#endif
