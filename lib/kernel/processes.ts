/** Whether /proc shows the processes of all users to this one. */
import { existsSync, readFileSync } from "node:fs";

/** The values of hidepid that hide processes; by name since Linux 5.8. With "1" and "noaccess" reading one fails. */
const HIDING = ["2", "invisible", "4", "ptraceable"];
/** The bit of CAP_SYS_PTRACE (capabilities(7)), which sees through hidepid. */
const SYS_PTRACE = 1n << 19n;

/**
 * proc(5), mount option hidepid: whether no process is hidden from this one. With "invisible" a process of another user
 * is absent from /proc, so that no error shows that something is missing.
 */
export function seesEveryProcess(): boolean {
  if (process.platform !== "linux") return true;
  if (!existsSync("/proc/1")) return false;
  const { hidepid, gid } = procOptions();
  if (!HIDING.includes(hidepid)) return true;
  const isInGroup = process.getgroups!().includes(gid) || process.getegid!() === gid;
  return hasPtrace() || (isInGroup && !["4", "ptraceable"].includes(hidepid));
}

/** Whether reading a process failed for lack of permission, and not because it has ended. */
export function isForbidden(error: unknown): boolean {
  return ["EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** The options of the last mount on /proc, which hides the others: "40 28 0:22 / /proc rw - proc proc rw,hidepid=2". */
function procOptions(): { readonly hidepid: string; readonly gid: number } {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const options = mounts.findLast((line) => line.split(" ")[4] === "/proc") ?? "";
  return {
    hidepid: /[ ,]hidepid=(\w+)/.exec(options)?.[1] ?? "0",
    gid: Number(/[ ,]gid=(\d+)/.exec(options)?.[1] ?? 0),
  };
}

function hasPtrace(): boolean {
  const bits = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${bits}`) & SYS_PTRACE) !== 0n;
}
