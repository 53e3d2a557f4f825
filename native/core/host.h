#pragma once

#include <cstddef>
#include <functional>

#include "core/address.h"
#include "core/result.h"

/// Facts about a network namespace of this host: the thread's own, or another one.
namespace core {

/// setns(2) on a new thread, then `work` there; no other thread's namespace changes. `namespace_fd` is -1 for
/// the caller's own namespace: then `work` runs on the caller's thread. -EAGAIN when no thread can be
/// created, -EPERM or -EINVAL by setns, -ENOSYS where there are no namespaces.
Result run_in_namespace(int namespace_fd, const std::function<Result()>& work);

/// connect(2) of a UDP socket, then getsockname(2): the local address that a connect to `peer` would get.
/// Sends no packet. -ENETUNREACH without a route.
Result route_source(const Address& peer, Address* local);

/// open(2), read(2): the start of a file, up to `capacity` bytes. Returns how many bytes it read.
Result read_file(const char* path, void* bytes, size_t capacity);

}  // namespace core
