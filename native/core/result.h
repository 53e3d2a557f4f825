#pragma once

#include <cerrno>

namespace core {

/// A value (0 or more) or -errno, as a Linux system call returns it. Every call that JavaScript makes returns
/// one.
using Result = int;

/// Converts the return value of a libc function (-1 and errno on failure) to a Result.
inline Result or_errno(long value) { return value < 0 ? -errno : static_cast<Result>(value); }

}  // namespace core
