#pragma once

#include <cerrno>

namespace core {

/// 0 or more is the value, negative is -errno: the kernel's own convention, and that of every call
/// across the boundary to JavaScript.
using Result = int;

/// Turns what libc answers (-1 and errno) into a Result.
inline Result or_errno(long answer) { return answer < 0 ? -errno : static_cast<Result>(answer); }

}  // namespace core
