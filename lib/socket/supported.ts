/** Which options this build and this kernel have. */
import { errnoName, SocketError } from "./errors.ts";
import type { OptionRow } from "./native.ts";
import { loadNative } from "./native.ts";
import type { OptionName } from "./options.ts";
import { allocateValue, optionIndex } from "./options.ts";

/**
 * getsockopt(2) on a new socket: whether this build and this kernel have the option. An IPV6_… option is read from an
 * IPv6 socket. Throws SocketError when no socket can be opened (EMFILE).
 */
export function supported(name: OptionName): boolean {
  const native = loadNative();
  const index = optionIndex(native.options, name);
  const row = native.options[index]!;
  if (!row.inBuild) return false;
  const handle = native.handle();
  const opened = native.socket(handle, row.ipv6Only ? 6 : 4);
  if (opened < 0 && errnoName(opened) === "EAFNOSUPPORT") return false;
  if (opened < 0) throw new SocketError(opened, { syscall: "socket" });
  try {
    const result = native.getsockopt(handle, index, allocateValue(row));
    return result >= 0 || !["ENOPROTOOPT", "ENOTSUP"].includes(errnoName(result));
  } finally {
    native.close(handle);
  }
}

/** The option table, row by row. docs/options.md and the options' tests are generated from it. */
export function optionTable(): readonly OptionRow[] {
  return loadNative().options;
}
