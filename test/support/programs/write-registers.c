/* Traces a child as User-mode Linux does: reads its XSAVE area into memory that is 64 bytes too small, and writes those
 * bytes back. Prints the errno of that, a word that it peeked, and the errno of a peek at no address. */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static long word = 4711;
static char area[1 << 16];

int main(void) {
  const pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    _exit(0);
  }
  waitpid(child, 0, 0);
  struct iovec bytes = {area, sizeof(area)};
  ptrace(PTRACE_GETREGSET, child, NT_X86_XSTATE, &bytes);
  bytes.iov_len -= 64;
  errno = 0;
  ptrace(PTRACE_SETREGSET, child, NT_X86_XSTATE, &bytes);
  const int written = errno;
  const long peeked = ptrace(PTRACE_PEEKDATA, child, &word, 0);
  errno = 0;
  ptrace(PTRACE_PEEKDATA, child, 0, 0);
  printf("%d %ld %d\n", written, peeked, errno);
  ptrace(PTRACE_KILL, child, 0, 0);
  waitpid(child, 0, 0);
  return 0;
}
