/** The descriptors of this process, of every kind. */
import { readdirSync, readlinkSync } from "node:fs";

/** Each descriptor and what it stands for, such as socket:[4711], pipe:[4711], anon_inode:[eventpoll] or a file. */
export function openDescriptors(): Map<string, string> {
  const descriptors = new Map<string, string>();
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      descriptors.set(fd, readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The descriptor of this listing, closed by now.
    }
  }
  return descriptors;
}
