// Every system call that native/core makes, and the errnos of its manual page: the one list from which the fault matrix
// is generated. test/tidy.test.ts fails for a call in native/core that is in neither list here.

/** Errnos of every call on a socket. */
const OF_SOCKETS = ["EBADF", "ENOTSOCK", "EINVAL"];
/** Errnos where a call needs a new descriptor or memory. */
const OF_LIMITS = ["EMFILE", "ENFILE", "ENOMEM"];

/**
 * `parameters` and `arguments` are C, for the wrapper that fails in the call's place; `failure` is what the call returns
 * when it fails (`errno` for one that returns the errno itself). `symbols`: under which names the C library exports it.
 * `number`: of a call made by syscall(2). `reports`: what a SocketError calls it instead, where one call of the package
 * stands for several of the kernel. `becomes`: the errno of the call that is made instead.
 */
export const CALLS = {
  accept4: {
    parameters: "int fd, void* name, void* length, int flags",
    arguments: "fd, name, length, flags",
    reports: ["accept"],
    errnos: [
      ...OF_SOCKETS,
      ...OF_LIMITS,
      "EAGAIN",
      "ECONNABORTED",
      "ENOBUFS",
      "EPERM",
      "EPROTO",
      "EOPNOTSUPP",
    ].concat(
      // accept(2): errors of the network that are pending on the new socket.
      ["ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "ENETUNREACH"],
    ),
  },
  bind: {
    parameters: "int fd, const void* name, unsigned length",
    arguments: "fd, name, length",
    // EINTR, which bind(2) does not know, would be that of the connect that the burst makes next.
    reports: ["connect"],
    errnos: [...OF_SOCKETS, "EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EFAULT", "ENOMEM", "ELOOP", "EROFS"],
  },
  close: {
    parameters: "int fd",
    arguments: "fd",
    // Linux has closed the descriptor also when close(2) fails, and so does the wrapper.
    isDoneFirst: true,
    errnos: ["EBADF", "EIO", "ENOSPC", "EDQUOT"],
  },
  connect: {
    parameters: "int fd, const void* name, unsigned length",
    arguments: "fd, name, length",
    errnos: [
      ...OF_SOCKETS,
      "EACCES",
      "EPERM",
      "EADDRINUSE",
      "EADDRNOTAVAIL",
      "EAFNOSUPPORT",
      "EAGAIN",
      "EALREADY",
    ].concat([
      "ECONNREFUSED",
      "EFAULT",
      "EINPROGRESS",
      "EISCONN",
      "ENETUNREACH",
      "EPROTOTYPE",
      "ETIMEDOUT",
      "EHOSTUNREACH",
    ]),
  },
  epoll_create1: {
    parameters: "int flags",
    arguments: "flags",
    // The first wait starts the reactor, and fails as a later one does.
    reports: ["epoll_ctl"],
    errnos: ["EINVAL", ...OF_LIMITS],
  },
  epoll_ctl: {
    parameters: "int poller, int operation, int fd, void* event",
    arguments: "poller, operation, fd, event",
    // A descriptor that is watched already is changed, and this one is not watched.
    becomes: { EEXIST: "ENOENT" },
    errnos: ["EBADF", "EEXIST", "EINVAL", "ELOOP", "ENOENT", "ENOMEM", "ENOSPC", "EPERM"],
  },
  epoll_wait: {
    parameters: "int poller, void* events, int most, int timeout",
    arguments: "poller, events, most, timeout",
    reports: ["epoll_ctl"],
    errnos: ["EBADF", "EFAULT", "EINVAL"],
  },
  fcntl: {
    symbols: ["fcntl", "fcntl64"],
    parameters: "int fd, int command, long value",
    arguments: "fd, command, value",
    errnos: ["EBADF", "EINVAL", "EACCES", "EAGAIN", "EPERM"],
  },
  fstat: {
    symbols: ["fstat", "fstat64"],
    parameters: "int fd, void* status",
    arguments: "fd, status",
    errnos: ["EBADF", "EFAULT", "ENOMEM", "EOVERFLOW"],
  },
  getpeername: {
    parameters: "int fd, void* name, void* length",
    arguments: "fd, name, length",
    errnos: [...OF_SOCKETS, "EFAULT", "ENOBUFS", "ENOTCONN"],
  },
  getsockname: {
    parameters: "int fd, void* name, void* length",
    arguments: "fd, name, length",
    // Whether a socket is joined to itself, and whether it is TCP, are questions with several calls and one name.
    reports: ["getpeername", "getsockopt", "fcntl", "connect"],
    errnos: [...OF_SOCKETS, "EFAULT", "ENOBUFS"],
  },
  getsockopt: {
    parameters: "int fd, int level, int name, void* value, void* length",
    arguments: "fd, level, name, value, length",
    // How a connect has ended, and whether the socket is joined to itself, is read with TCP_INFO and SO_ERROR.
    reports: ["connect", "getpeername", "fcntl"],
    errnos: [...OF_SOCKETS, "EFAULT", "ENOPROTOOPT", "EOPNOTSUPP"],
  },
  if_indextoname: {
    returns: "char*",
    parameters: "unsigned index, char* name",
    arguments: "index, name",
    failure: "0",
    errnos: ["ENXIO", ...OF_LIMITS],
  },
  if_nametoindex: {
    returns: "unsigned",
    parameters: "const char* name",
    arguments: "name",
    failure: "0",
    errnos: ["ENODEV", ...OF_LIMITS],
  },
  io_uring_enter: {
    number: 426,
    // What the ring cannot do at all is its setup's error; a stop that is interrupted for ever gives up.
    reports: ["io_uring_setup"],
    becomes: { EINTR: "ETIMEDOUT" },
    errnos: [
      "EAGAIN",
      "EBADF",
      "EBADFD",
      "EBADR",
      "EBUSY",
      "EEXIST",
      "EFAULT",
      "EINVAL",
      "ENXIO",
      "EOPNOTSUPP",
    ],
  },
  io_uring_register: {
    number: 427,
    reports: ["io_uring_setup"],
    errnos: ["EACCES", "EBADF", "EBADFD", "EBUSY", "EEXIST", "EFAULT", "EINVAL", "EMFILE", "ENOMEM", "ENXIO"],
  },
  io_uring_setup: { number: 425, errnos: ["EFAULT", "EINVAL", "EPERM", "ENOSYS", ...OF_LIMITS] },
  listen: {
    parameters: "int fd, int backlog",
    arguments: "fd, backlog",
    errnos: [...OF_SOCKETS, "EADDRINUSE", "EOPNOTSUPP"],
  },
  mmap: {
    symbols: ["mmap", "mmap64"],
    returns: "void*",
    parameters: "void* address, unsigned long length, int protection, int flags, int fd, long offset",
    arguments: "address, length, protection, flags, fd, offset",
    failure: "(void*)-1",
    reports: ["io_uring_setup"],
    after: "note_map(result, fd, offset)",
    errnos: ["EACCES", "EAGAIN", "EBADF", "EINVAL", "ENFILE", "ENODEV", "ENOMEM", "EOVERFLOW", "EPERM"],
  },
  open: {
    symbols: ["open", "open64"],
    parameters: "const char* path, int flags, int mode",
    arguments: "path, flags, mode",
    errnos: [
      "EACCES",
      "EFAULT",
      "EINVAL",
      "EIO",
      "EISDIR",
      "ELOOP",
      "ENAMETOOLONG",
      "ENODEV",
      "ENOENT",
    ].concat(["ENOTDIR", "ENXIO", "EOVERFLOW", "EPERM", ...OF_LIMITS]),
  },
  pidfd_getfd: { number: 438, errnos: ["EBADF", "EINVAL", "EMFILE", "ENFILE", "EPERM", "ESRCH", "ENOSYS"] },
  pidfd_open: { number: 434, errnos: ["EINVAL", "ENODEV", "ESRCH", "ENOSYS", ...OF_LIMITS] },
  pipe2: {
    parameters: "int* ends, int flags",
    arguments: "ends, flags",
    reports: ["epoll_ctl"],
    errnos: ["EFAULT", "EINVAL", "EMFILE", "ENFILE"],
  },
  poll: {
    parameters: "void* asked, unsigned long count, int timeout",
    arguments: "asked, count, timeout",
    errnos: ["EFAULT", "EINVAL", "ENOMEM"],
  },
  pread: {
    symbols: ["pread", "pread64"],
    returns: "long",
    parameters: "int fd, void* bytes, unsigned long length, long offset",
    arguments: "fd, bytes, length, offset",
    errnos: ["EAGAIN", "EBADF", "EFAULT", "EINVAL", "EIO", "EISDIR", "ENXIO", "EOVERFLOW", "ESPIPE"],
  },
  pthread_create: {
    parameters: "void* id, const void* attributes, void* (*run)(void*), void* value",
    arguments: "id, attributes, run, value",
    failure: "errno",
    reports: ["clone"],
    errnos: ["EAGAIN"],
    // The C library's, not the kernel's: it never returns EINTR.
    isNeverInterrupted: true,
  },
  read: {
    returns: "long",
    parameters: "int fd, void* bytes, unsigned long length",
    arguments: "fd, bytes, length",
    errnos: ["EAGAIN", "EBADF", "EFAULT", "EINVAL", "EIO", "EISDIR"],
  },
  recv: {
    returns: "long",
    parameters: "int fd, void* bytes, unsigned long length, int flags",
    arguments: "fd, bytes, length, flags",
    errnos: [
      ...OF_SOCKETS,
      "EAGAIN",
      "ECONNREFUSED",
      "ECONNRESET",
      "EFAULT",
      "ENOBUFS",
      "ENOMEM",
      "ENOTCONN",
      "ETIMEDOUT",
    ],
  },
  recvmsg: {
    returns: "long",
    parameters: "int fd, void* message, int flags",
    arguments: "fd, message, flags",
    errnos: [
      ...OF_SOCKETS,
      "EAGAIN",
      "ECONNREFUSED",
      "ECONNRESET",
      "EFAULT",
      "ENOMEM",
      "ENOTCONN",
      "ENETDOWN",
    ],
  },
  send: {
    returns: "long",
    parameters: "int fd, const void* bytes, unsigned long length, int flags",
    arguments: "fd, bytes, length, flags",
    errnos: [
      ...OF_SOCKETS,
      "EACCES",
      "EAGAIN",
      "EALREADY",
      "ECONNRESET",
      "EDESTADDRREQ",
      "EFAULT",
      "EISCONN",
    ].concat(["EMSGSIZE", "ENOBUFS", "ENOMEM", "ENOTCONN", "EOPNOTSUPP", "EPIPE"]),
  },
  sendmsg: {
    returns: "long",
    parameters: "int fd, const void* message, int flags",
    arguments: "fd, message, flags",
    errnos: [
      ...OF_SOCKETS,
      "EACCES",
      "EAGAIN",
      "ECONNRESET",
      "EFAULT",
      "EISCONN",
      "EMSGSIZE",
      "ENOBUFS",
      "ENOMEM",
    ].concat(["ENOTCONN", "EOPNOTSUPP", "EPIPE"]),
  },
  setns: {
    parameters: "int fd, int kind",
    arguments: "fd, kind",
    reports: ["socket", "sock_diag"],
    errnos: ["EBADF", "EINVAL", "ENOMEM", "EPERM", "ESRCH"],
  },
  setsockopt: {
    parameters: "int fd, int level, int name, const void* value, unsigned length",
    arguments: "fd, level, name, value, length",
    errnos: [
      ...OF_SOCKETS,
      "EFAULT",
      "ENOPROTOOPT",
      "EOPNOTSUPP",
      "EPERM",
      "EACCES",
      "EBUSY",
      "EDOM",
      "ENOMEM",
      "ENOBUFS",
    ],
  },
  shutdown: {
    parameters: "int fd, int how",
    arguments: "fd, how",
    errnos: [...OF_SOCKETS, "ENOTCONN"],
  },
  socket: {
    parameters: "int family, int type, int protocol",
    arguments: "family, type, protocol",
    // Opened in another namespace, EINVAL is taken for that of setns(2).
    reports: ["setns"],
    errnos: ["EACCES", "EAFNOSUPPORT", "EINVAL", "ENOBUFS", "EPROTONOSUPPORT", ...OF_LIMITS],
  },
  write: {
    returns: "long",
    parameters: "int fd, const void* bytes, unsigned long length",
    arguments: "fd, bytes, length",
    errnos: ["EAGAIN", "EBADF", "EFAULT", "EINVAL", "EIO", "ENOSPC", "EPERM", "EPIPE"],
  },
};

/** What io_uring does in the kernel, where no library stands between: the wrapper of io_uring_enter replaces results. */
export const OPERATIONS = {
  IORING_OP_CONNECT: {
    operation: 16,
    of: "connect",
    errnos: [...CALLS.connect.errnos, "ECANCELED", "EINTR"],
  },
  IORING_OP_CLOSE: { operation: 19, of: "close", errnos: ["EBADF", "EIO", "EINTR"] },
  IORING_OP_SOCKET: { operation: 45, of: "socket", errnos: [...CALLS.socket.errnos, "EINTR", "ECANCELED"] },
  IORING_OP_FIXED_FD_INSTALL: {
    operation: 54,
    of: "io_uring_enter",
    errnos: ["EBADF", "EINVAL", "EMFILE", "ENFILE", "ENOMEM", "ECANCELED"],
  },
  IORING_OP_BIND: { operation: 56, of: "bind", errnos: [...CALLS.bind.errnos, "EINTR", "ECANCELED"] },
};

/** Calls of native/core that no fault is injected into, and why. */
export const LEFT_OUT = {
  accept: "macOS and the BSDs: accept4 on Linux",
  clock_gettime: "with a clock that is there it cannot fail",
  kevent: "macOS and the BSDs: epoll_wait on Linux",
  kqueue: "macOS and the BSDs: epoll_create1 on Linux",
  munmap: "of memory that was mapped it cannot fail",
  pipe: "macOS and the BSDs: pipe2 on Linux",
  sched_yield: "on Linux it always succeeds",
  syscall: "its numbers have rows of their own",
};

/** The rows in the order of their numbers in the wrapper's memory. */
export const ROWS = Object.entries({ ...CALLS, ...OPERATIONS }).map(([name, row], number) => ({
  name,
  returns: "int",
  failure: "-1",
  symbols: [name],
  ...row,
  row: number,
}));
