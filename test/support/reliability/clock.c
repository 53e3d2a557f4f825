/*
 * A library loaded before a program: its clock of the day jumps by a day at each reading, forwards and back again.
 * The clock that measures time, CLOCK_MONOTONIC, is left alone, as when an administrator sets the clock.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

enum { kDaySeconds = 86400 };

static time_t jump(void) {
  static int readings = 0;
  return __atomic_fetch_add(&readings, 1, __ATOMIC_RELAXED) % 2 == 0 ? kDaySeconds : -kDaySeconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  const int result = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += jump();
  return result;
}

int gettimeofday(struct timeval *now, void *zone) {
  int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
  const int result = real(now, zone);
  now->tv_sec += jump();
  return result;
}
