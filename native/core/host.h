#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "core/address.h"
#include "core/result.h"

/// Facts about a network namespace of this host: the thread's own, or another one.
namespace core {

/// In place of an fd: the caller's own namespace.
inline constexpr int kOwnNamespace = -1;

/// setns(2) on a new thread, then `work` there; no other thread's namespace changes. With kOwnNamespace
/// `work` runs on the caller's thread. -EAGAIN when no thread can be created, -EPERM or -EINVAL by setns,
/// -ENOSYS where there are no namespaces.
Result run_in_namespace(int namespace_fd, const std::function<Result()>& work);

/// For questions about a route, in which the port does not matter: BSD refuses a connect to port 0.
inline constexpr uint16_t kAnyPort = 9;

/// connect(2) of a socket of datagram_socket(), then getsockname(2): the local address that a connect to
/// `peer` would get. Sends no packet. -ENETUNREACH without a route.
Result source_address(int datagram_fd, const Address& peer, Address* local);
/// source_address() by a socket that is opened and closed here; the peer's port does not matter.
Result route_source(const Address& peer, Address* local);

/// The system calls by which a file of a namespace is read, in the order of kFileCallNames.
enum class FileCall : uint32_t { setns, open, read };
inline constexpr const char* kFileCallNames[] = {"setns", "open", "read"};

/// open(2), read(2): the start of a file, up to `capacity` bytes. Returns how many bytes it read, or the
/// -errno of the call that it writes to `failed`.
Result read_file(const char* path, void* bytes, size_t capacity, FileCall* failed);

}  // namespace core
