#include "core/diag.h"

#include <cstring>
#include <vector>

#include "core/syscall.h"

namespace core {

namespace {

bool is_joined(const DiagRecord& record) {
  return std::memcmp(&record.local, &record.peer, sizeof record.local) == 0;
}

Result collect(int fd, const DiagFilter& filter, DiagRecord* records, size_t capacity) {
  size_t count = 0;
  std::vector<DiagRecord> batch;
  Result more = diag_request(fd, filter);
  while (more >= 0) {
    batch.clear();
    more = diag_receive(fd, &batch);
    for (const DiagRecord& record : batch) {
      // The kernel's filter compares ports with constants only, not with one another.
      if (filter.joined_only && !is_joined(record)) continue;
      if (count < capacity) records[count] = record;
      count++;
    }
    if (more == 0) return static_cast<Result>(count);
  }
  return more;
}

}  // namespace

Result diag(const DiagFilter& filter, DiagRecord* records, size_t capacity) {
  const Result fd = diag_socket();
  if (fd < 0) return fd;
  const Result result = collect(fd, filter, records, capacity);
  close(fd);
  return result;
}

}  // namespace core
