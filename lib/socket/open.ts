/** socket(2): TCP or Multipath TCP, in this network namespace or another one. */
import { closeSync, constants, openSync } from "node:fs";
import { errnoName, SocketError, threadError } from "./errors.ts";
import { checkFlags, invalidArgument, textOf } from "./misuse.ts";
import type { Handle, Native } from "./native.ts";

/** socket(2) into an empty handle; with `namespace` setns(2) before it. Throws what TcpSocket.open() documents. */
export function openSocket(
  native: Native,
  handle: Handle,
  family: 4 | 6,
  mptcp: boolean,
  namespace: string | undefined,
): void {
  checkFlags({ mptcp }, ["mptcp"]);
  if (namespace === undefined) {
    const result = native.socket(handle, family, Number(mptcp));
    if (result < 0) throw openError(result, mptcp);
  } else {
    openInNamespace(native, handle, family, mptcp, namespace);
  }
}

function openError(result: number, mptcp: boolean): SocketError {
  const fix = "Multipath TCP needs Linux 5.6 and net.mptcp.enabled = 1";
  return new SocketError(result, { syscall: "socket", ...(mptcp && { fix }) });
}

/** setns(2) on a thread of its own, then socket(2). Throws SocketError: open ENOENT, setns EPERM, EINVAL … */
function openInNamespace(
  native: Native,
  handle: Handle,
  family: 4 | 6,
  mptcp: boolean,
  namespace: string,
): void {
  if (typeof namespace !== "string" || namespace === "") {
    const fix = 'use a path, such as "/proc/4711/ns/net" or "/run/netns/name"';
    throw invalidArgument("ERR_INVALID_NAMESPACE", `namespace ${textOf(namespace)} is not a path: ${fix}`);
  }
  const fd = openNamespace(namespace);
  try {
    const result = native.socketInNamespace(handle, family, fd, Number(mptcp));
    if (result < 0) throw namespaceError(result, namespace, mptcp);
  } finally {
    closeSync(fd);
  }
}

function openNamespace(namespace: string): number {
  try {
    // A path that is a FIFO by mistake must not block.
    return openSync(namespace, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { errno, code } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    const fix = `${namespace} must be the network namespace of a live process, or one of "ip netns"`;
    throw new SocketError(errno, { syscall: "open", ...(code !== "EMFILE" && code !== "ENFILE" && { fix }) });
  }
}

function namespaceError(result: number, namespace: string, mptcp: boolean): SocketError {
  const code = errnoName(result);
  if (code === "EPERM") {
    const fix = `entering ${namespace} needs CAP_SYS_ADMIN, here and in the user namespace that owns it`;
    return new SocketError(result, { syscall: "setns", fix });
  }
  if (code === "EINVAL") {
    return new SocketError(result, { syscall: "setns", fix: `${namespace} is not a network namespace` });
  }
  if (code === "ENOSYS") {
    return new SocketError(result, { syscall: "setns", fix: "only Linux has network namespaces" });
  }
  if (code === "EAGAIN") return threadError(result, "socket");
  return openError(result, mptcp);
}
