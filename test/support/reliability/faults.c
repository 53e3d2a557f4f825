// Loaded before a program by LD_PRELOAD: makes the system calls of the addon fail, and nobody else's. preload.mjs writes
// the wrappers from calls.mjs; this file is what they share. What is to fail stands in a file that the program and the
// test map into memory.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rows.h"

/// The layout is that of preload.mjs.
struct Control {
  _Atomic int32_t row, error, skip, times, matched, injected;
  _Atomic int32_t seen[64];
};

static struct Control* control;
static _Atomic uintptr_t addon_low, addon_high;

__attribute__((constructor)) static void open_control(void) {
  const char* path = getenv("FAULTS_FILE");
  if (path == NULL) return;
  const long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  const long memory = syscall(SYS_mmap, NULL, sizeof *control, 3, 1, fd, 0);
  syscall(SYS_close, fd);
  if (memory > 0 || memory < -4095) control = (struct Control*)memory;
}

static int find_addon(struct dl_phdr_info* info, size_t size, void* unused) {
  (void)size, (void)unused;
  const char* name = info->dlpi_name;
  const size_t length = name == NULL ? 0 : strlen(name);
  static const char kEnd[] = "selfconnect.node";
  if (length < sizeof kEnd - 1 || strcmp(name + length - (sizeof kEnd - 1), kEnd) != 0) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)* part = &info->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0) continue;
    addon_high = info->dlpi_addr + part->p_vaddr + part->p_memsz;
    addon_low = info->dlpi_addr + part->p_vaddr;
  }
  return 1;
}

int is_of_addon(const void* caller) {
  static _Thread_local int is_looking;
  if (control == NULL || is_looking) return 0;
  const uintptr_t at = (uintptr_t)caller;
  if (addon_high != 0) return at >= addon_low && at < addon_high;
  // dladdr() is cheap beside a walk over all libraries, and this is asked for every call until the addon is loaded.
  is_looking = 1;
  Dl_info known;
  if (dladdr(caller, &known) != 0 && known.dli_fname != NULL && strstr(known.dli_fname, "selfconnect.node") != NULL)
    dl_iterate_phdr(find_addon, NULL);
  is_looking = 0;
  return addon_high != 0 && at >= addon_low && at < addon_high;
}

/// The errno with which this call is to fail, or 0.
int take_fault(int row) {
  control->seen[row]++;
  if (control->row != row) return 0;
  const int32_t before = control->matched++;
  if (before < control->skip || before - control->skip >= control->times) return 0;
  control->injected++;
  return control->error;
}

int find_fault(int row, const void* caller) { return is_of_addon(caller) ? take_fault(row) : 0; }

void* find_real(const char* name) { return dlsym(RTLD_NEXT, name); }

int fail(int error) {
  errno = error;
  return -1;
}

// The ring of this thread: a ring is opened and entered by one thread.
enum { kMostEntries = 4096 };
struct Entry {
  uint8_t operation, flags;
  uint16_t priority;
  int32_t fd;
  uint64_t offset, address;
  uint32_t length, operation_flags;
  uint64_t user_data, rest[3];
};
struct Completion {
  uint64_t user_data;
  int32_t result;
  uint32_t flags;
};
static _Thread_local struct {
  int fd;
  uint32_t parameters[30];
  char* memory;
  struct Entry* entries;
  uint32_t seen_tail, seen_head;
  uint8_t operation[kMostEntries], flags[kMostEntries];
} ring = {.fd = -1};

static uint32_t* word(int parameter) { return (uint32_t*)(ring.memory + ring.parameters[parameter]); }

void note_map(void* memory, int fd, long offset) {
  if (fd != ring.fd || fd < 0 || memory == (void*)-1) return;
  if (offset == 0) ring.memory = memory;
  if (offset == 0x10000000) ring.entries = memory;
}

// Words of struct io_uring_params: the offsets of the entries begin at 10, those of the completions at 20.
enum { kEntryTail = 11, kEntryMask = 12, kCompletionHead = 20, kCompletionTail = 21, kCompletionMask = 22, kCompletions = 25 };

/// Notes which operation each new entry asks for: a completion does not say it.
static void note_entries(void) {
  for (; ring.seen_tail != *word(kEntryTail); ring.seen_tail++) {
    const struct Entry* entry = &ring.entries[ring.seen_tail & *word(kEntryMask)];
    if (entry->user_data >= kMostEntries) continue;
    ring.operation[entry->user_data] = entry->operation;
    ring.flags[entry->user_data] = entry->flags;
  }
}

/// Replaces results that the addon has not read yet. A soft link cancels what follows a failure, and so does this.
static void replace_results(void) {
  static const struct {
    int operation, row;
  } kRows[] = {OPERATION_ROWS};
  int64_t cancelled = -1;
  if (*word(kCompletionHead) > ring.seen_head) ring.seen_head = *word(kCompletionHead);
  for (; ring.seen_head != *word(kCompletionTail); ring.seen_head++) {
    struct Completion* one =
        (struct Completion*)(ring.memory + ring.parameters[kCompletions]) + (ring.seen_head & *word(kCompletionMask));
    if (one->user_data >= kMostEntries) continue;
    int error = (int64_t)one->user_data == cancelled ? ECANCELED : 0;
    for (size_t i = 0; i < sizeof kRows / sizeof *kRows && error == 0; i++)
      if (kRows[i].operation == ring.operation[one->user_data]) error = take_fault(kRows[i].row);
    if (error == 0) continue;
    if (ring.operation[one->user_data] == kInstall && one->result >= 0) syscall(SYS_close, one->result);
    one->result = -error;
    if ((ring.flags[one->user_data] & 1 << 2) != 0) cancelled = (int64_t)one->user_data + 1;
  }
}

long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (real == NULL) real = (long (*)(long, ...))find_real("syscall");
  va_list list;
  va_start(list, number);
  long value[6];
  for (int i = 0; i < 6; i++) value[i] = va_arg(list, long);
  va_end(list);
  const int is_ours = is_of_addon(__builtin_return_address(0));
  if (is_ours) {
    static const struct {
      long number;
      int row;
    } kRows[] = {NUMBER_ROWS};
    for (size_t i = 0; i < sizeof kRows / sizeof *kRows; i++) {
      const int error = kRows[i].number == number ? take_fault(kRows[i].row) : 0;
      if (error != 0) return fail(error);
    }
  }
  const int is_enter = is_ours && number == SYS_io_uring_enter && ring.memory != NULL && ring.entries != NULL;
  if (is_enter) note_entries();
  const long result = real(number, value[0], value[1], value[2], value[3], value[4], value[5]);
  const int error = errno;
  if (is_ours && number == SYS_io_uring_setup && result >= 0) {
    memset(&ring, 0, sizeof ring);
    ring.fd = (int)result;
    memcpy(ring.parameters, (void*)value[1], sizeof ring.parameters);
  }
  if (is_enter) replace_results();
  errno = error;
  return result;
}
