/*
 * Runs a driver and reports its cost: CPU time and peak memory of the driver and all its children, as one
 * line of JSON on fd 3. Arguments: the limit of open files that it needs (0: unchanged), then the command.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static long long microseconds(struct timeval time) { return time.tv_sec * 1000000LL + time.tv_usec; }

static void allow_files(rlim_t count) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max < count) limit.rlim_max = count;
  limit.rlim_cur = count;
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
  fprintf(stderr, "%lu open files are not allowed here (%s)\n", (unsigned long)count, strerror(errno));
  exit(1);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const rlim_t files = strtoul(argv[1], NULL, 10);
  if (files > 0) allow_files(files);
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(3);
    execvp(argv[2], argv + 2);
    fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
    _exit(127);
  }
  int status;
  struct rusage used;
  while (wait4(child, &status, 0, &used) < 0 && errno == EINTR) continue;
  const long long cpu_us = microseconds(used.ru_utime) + microseconds(used.ru_stime);
  dprintf(3, "{\"cpuUs\":%lld,\"peakMemoryBytes\":%lld}\n", cpu_us, used.ru_maxrss * 1024LL);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
