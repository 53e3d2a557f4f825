/** Which options this build and this kernel have. */
import { ADDRESS_BYTES } from "./address.ts";
import { errnoName, SocketError } from "./errors.ts";
import type { Handle, Native, OptionRow } from "./native.ts";
import { loadNative } from "./native.ts";
import { allocateValue, optionIndex } from "./option-values.ts";
import type { OptionName } from "./options.ts";

/**
 * getsockopt(2) on a new socket, setsockopt(2) for an option that can only be set: whether this build and this kernel
 * have the option. An IPV6_… option is read from an IPv6 socket. Throws SocketError when no socket can be opened
 * (EMFILE).
 *
 * @example
 * import { supported, TcpSocket } from "selfconnect";
 *
 * const options = supported("localPortRange") ? { localPortRange: { low: 40_000, high: 40_099 } } : {};
 * TcpSocket.open(4, options).close();
 */
export function supported(name: OptionName): boolean {
  const native = loadNative();
  const index = optionIndex(native.options, name);
  const row = native.options[index]!;
  if (!row.inBuild) return false;
  const handle = native.handle();
  const opened = native.socket(handle, row.ipv6Only ? 6 : 4, 0);
  if (opened < 0 && errnoName(opened) === "EAFNOSUPPORT") return false;
  if (opened < 0) throw new SocketError(opened, { syscall: "socket" });
  try {
    const result = probe(native, handle, index);
    return result >= 0 || !["ENOPROTOOPT", "ENOTSUP"].includes(errnoName(result));
  } finally {
    native.close(handle);
  }
}

/** Asks for the value; sets one of no use where it cannot be read: the kernel refuses that with another errno. */
function probe(native: Native, handle: Handle, index: number): number {
  const row = native.options[index]!;
  const memory = allocateValue(row);
  if (row.access !== "write-only") return native.getsockopt(handle, index, memory);
  return native.setsockopt(handle, index, memory.subarray(0, ADDRESS_BYTES));
}

/** The option table, row by row. docs/options.md and the options' tests are generated from it. */
export function optionTable(): readonly OptionRow[] {
  return loadNative().options;
}
