#pragma once

#include <cstdint>

namespace core {

/// Words of memory that one native thread writes while JavaScript reads them. Relaxed atomic accesses cost
/// nothing on today's processors. These are the builtins of std::atomic_ref, which libc++ has since
/// version 19.
inline void store_word(uint32_t* word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
inline uint32_t load_word(const uint32_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
inline int32_t load_word(const int32_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
/// Adds 1. A word has only one writer, so no locked instruction is needed.
inline void count_word(uint32_t* word) { store_word(word, load_word(word) + 1); }

}  // namespace core
