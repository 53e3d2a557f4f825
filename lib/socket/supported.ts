/** Which options this build and this kernel have. */
import { errnoName, SocketError } from "./errors.ts";
import type { OptionRow } from "./native.ts";
import { loadNative } from "./native.ts";
import type { OptionName } from "./options.ts";
import { optionIndex, optionRoom } from "./options.ts";

/**
 * Whether this build and this kernel have the option, found out by asking the kernel: getsockopt(2) on a new
 * socket. IPV6_… options are asked of an IPv6 socket. Throws SocketError when no socket can be had (EMFILE).
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
    const answer = native.getsockopt(handle, index, optionRoom(row));
    return answer >= 0 || !["ENOPROTOOPT", "ENOTSUP"].includes(errnoName(answer));
  } finally {
    native.close(handle);
  }
}

/** The option table, row by row: what docs/options.md and the generated test are made from. */
export function optionTable(): readonly OptionRow[] {
  return loadNative().options;
}
