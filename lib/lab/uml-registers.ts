/**
 * User-mode Linux before 6.16 on a CPU with AMX. It keeps a process's registers in memory of a fixed size, and writes
 * them back with PTRACE_SETREGSET, which Linux refuses (EFAULT) unless they are the whole XSAVE area of the CPU. A
 * ptrace(2) that is loaded before that of the C library completes them.
 */
import { spawnSync } from "node:child_process";
import path from "node:path";

/** Whether the CPU of this /proc/cpuinfo has AMX, whose 8 KiB of registers are too many. */
export function hasAmx(cpuinfo: string): boolean {
  return /^flags\s*:.*\bamx_tile\b/m.test(cpuinfo);
}

/** Compiles the ptrace(2) into `folder`, with `cc`. Returns its file; null where there is no compiler. */
export function compilePtrace(folder: string): string | null {
  const file = path.join(folder, "ptrace.so");
  // It needs no version of a C library: the one that User-mode Linux uses may be older than the compiler's.
  const flags = ["-x", "c", "-O1", "-fno-builtin", "-shared", "-fPIC", "-nostdlib", "-o", file, "-"];
  const { status } = spawnSync("cc", flags, { input: PTRACE, stdio: ["pipe", "ignore", "ignore"] });
  return status === 0 ? file : null;
}

/**
 * glibc's ptrace(2), whose requests to peek (1 to 3) return the word. Before PTRACE_SETREGSET of NT_X86_XSTATE it reads
 * the tracee's own area, and puts the caller's bytes over its beginning. The memory is static, because one thread of
 * User-mode Linux traces, with a small stack.
 */
const PTRACE = `
#include <errno.h>
#include <stdarg.h>
#include <sys/uio.h>

enum { PEEKS = 3, GET_REGISTERS = 0x4204, SET_REGISTERS = 0x4205, XSTATE = 0x202 };

static long call(long request, long pid, long address, void* data) {
  register void* fourth __asm__("r10") = data;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(101L), "D"(request), "S"(pid), "d"(address), "r"(fourth)
                   : "rcx", "r11", "memory");
  return result;
}

long ptrace(int request, ...) {
  va_list words;
  va_start(words, request);
  const long pid = va_arg(words, int), address = va_arg(words, long);
  void* data = va_arg(words, void*);
  va_end(words);
  long word = 0;
  const int peeks = request >= 1 && request <= PEEKS;
  if (peeks) data = &word;
  static char area[1 << 16];
  struct iovec whole = {area, sizeof(area)};
  if (request == SET_REGISTERS && address == XSTATE && call(GET_REGISTERS, pid, XSTATE, &whole) == 0) {
    const struct iovec* given = data;
    const char* bytes = given->iov_base;
    for (unsigned long at = 0; at < given->iov_len && at < whole.iov_len; at++) area[at] = bytes[at];
    data = &whole;
  }
  const long result = call(request, pid, address, data);
  if (result < 0) {
    errno = -result;
    return -1;
  }
  if (peeks) errno = 0;
  return peeks ? word : result;
}
`;
