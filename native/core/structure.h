#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/option.h"
#include "core/result.h"

/// The options whose value is a struct of the kernel's: TCP_INFO, TCP_CC_INFO, SO_MEMINFO.
namespace core {

std::span<const char* const> information_fields();
std::span<const char* const> congestion_fields();
std::span<const char* const> memory_fields();

/// getsockopt(2) of a Kind::structure row: one integer for each of its fields, kNoField for one that this
/// kernel does not report.
Result get_structure(int fd, const Option& option, int64_t* values, size_t capacity);

/// setsockopt(2), TCP_MD5SIG. A key of no bytes removes the peer's.
Result set_signature(int fd, const Option& option, const Address& peer, const uint8_t* key, size_t length);
/// setsockopt(2) of a struct sock_fprog: instructions of 8 bytes each.
Result set_program(int fd, const Option& option, const uint8_t* instructions, size_t length);

}  // namespace core
