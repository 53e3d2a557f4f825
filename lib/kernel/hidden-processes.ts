/** Whether proc(5) leaves out the processes of other users. */
import { readFileSync, statSync } from "node:fs";

/** A line of mountinfo for /proc, with what proc(5) calls it, or what the kernel does since 5.8. */
const HIDES = /^\S+ \S+ \S+ \S+ \/proc .* - proc \S+ .*\bhidepid=(?:2|4|invisible|ptraceable)\b/;
const PROC = /^\S+ \S+ \S+ \S+ \/proc /;

/**
 * proc(5), hidepid=2 or 4: whether /proc hides processes of other users from this one, so that a process that is not
 * listed may still exist. Root sees all of them, and so does the group of the mount option gid.
 */
export function hidesProcesses(): boolean {
  return isHidingMount(readMounts()) && !seesFirstProcess();
}

/** proc(5), /proc/self/mountinfo: whether the last mount on /proc hides processes. */
export function isHidingMount(mountinfo: string): boolean {
  const last = mountinfo.split("\n").findLast((line) => PROC.test(line));
  return last !== undefined && HIDES.test(last);
}

/** Whether the first process is visible and belongs to somebody else, or this process is root's. */
function seesFirstProcess(): boolean {
  const user = process.geteuid?.();
  try {
    return statSync("/proc/1").uid !== user || user === 0;
  } catch {
    return false; // Hidden processes do not exist for stat(2) either.
  }
}

function readMounts(): string {
  try {
    return readFileSync("/proc/self/mountinfo", "utf8");
  } catch {
    return ""; // No Linux.
  }
}
