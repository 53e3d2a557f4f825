#pragma once

#include <cstdint>

namespace core {

/// A word of memory that JavaScript reads while one native thread writes it: relaxed atomic accesses, for
/// free on the processors of today. (std::atomic_ref by its builtins: libc++ has the class only since
/// version 19.)
inline void store_word(uint32_t* word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
inline uint32_t load_word(const uint32_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
inline int32_t load_word(const int32_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
/// Only its one writer may count a word, so no locked instruction is needed.
inline void count_word(uint32_t* word) { store_word(word, load_word(word) + 1); }

}  // namespace core
