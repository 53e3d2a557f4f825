/** Starts a guest so that it, and all that it forks, ends with the lab, even with one that is killed by SIGKILL. */
import os from "node:os";

/** One process to start. */
export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  /** A folder of its own, which is removed however it ends. */
  readonly folder?: string;
  /**
   * Whether it runs in a pid namespace of its own where the kernel permits one. Not for a guest that looks for its own
   * processes in the host's /proc, where they have other pids.
   */
  readonly ownPids?: boolean;
}

/** One process of a namespace ends with another: pid 1, which this shell is. See pid_namespaces(7). */
const OWN_PIDS = "--pid --fork --kill-child";
/**
 * A program does not expect to be pid 1: the kernel ignores the signals that it sends to itself. What the shell prints
 * about a signal is not the guest's output.
 */
const FIRST_PROCESS = `exec 4>&2 2>/dev/null; "$@" 2>&4 4>&-; exit $?`;

/**
 * The lab holds the other end of stdin. A process in the guest's group reads from it and kills the group at end of
 * file, at once. Then a process of a session of its own removes the guest's folder, in which nothing writes any more.
 * Both are nobody's children, so that the guest has only children that it started itself. Node closes stdin when a
 * guest exits: what it forked ends then too.
 *
 * What leaves the group by setsid(2) is in the guest's pid namespace, whose first process is in the group. Where no
 * such namespace is permitted (user namespaces are disabled), it survives. runsc does not need one: it asks the kernel
 * to kill its sandbox with its parent (PR_SET_PDEATHSIG).
 */
const LEASH = `folder=$1 own=$2
shift 2
exec 3<&0 </dev/null
({ read -r _; kill -KILL 0; } <&3 2>/dev/null |
  setsid sh -c 'read -r _; test -z "$1" || rm -rf -- "$1"' sh "$folder" >/dev/null 2>&1 3<&- &)
if test "$own"; then
  for users in "" "--user --map-current-user"; do
    unshare $users ${OWN_PIDS} true 2>/dev/null || continue
    exec unshare $users ${OWN_PIDS} sh -c '${FIRST_PROCESS}' sh "$@" 3<&-
  done
fi
exec "$@" 3<&-`;

/** Returns the command that runs a launch on the leash. Its stdin has to stay open as long as the guest may live. */
export function putOnLeash({ folder = "", ownPids = false, file, args }: Launch): {
  file: string;
  args: string[];
} {
  return { file: "sh", args: ["-c", LEASH, "sh", folder, ownPids ? "own" : "", file, ...args] };
}

/** A shell reports a signal as this much more. */
const SIGNAL_CODES = 128;

/** Describes how a process on the leash ended. */
export function deathOf(code: number | null, signal: NodeJS.Signals | null): string {
  const by = signal ?? signalOf((code ?? 0) - SIGNAL_CODES);
  return by ? `killed by ${by}` : `exit code ${code}`;
}

function signalOf(number: number): string | undefined {
  return Object.entries(os.constants.signals).find(([, known]) => known === number)?.[0];
}
