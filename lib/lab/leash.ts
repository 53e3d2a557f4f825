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
  /** For a program that is given its work over stdin; others have nothing there. */
  readonly conversation?: Conversation;
}

/** What is said to a program before it begins: it introduces itself in a line, and is sent its work. */
export interface Conversation {
  /** Sent at once. */
  readonly opening: string;
  /** Whether the work was sent. The lines that follow are the work's. */
  readonly hasBegun: boolean;
  /** Returns what is sent next; null for a line of somebody else. Throws where the work cannot be done there. */
  answer(line: string): Uint8Array | null;
}

/** One process of a namespace ends with another: pid 1, which this shell is. See pid_namespaces(7). */
const OWN_PIDS = "--pid --fork --kill-child";
/**
 * A program does not expect to be pid 1: the kernel ignores the signals that it sends to itself. What the shell prints
 * about a signal is not the guest's output.
 */
const FIRST_PROCESS = `exec 4>&2 2>/dev/null; "$@" 2>&4 4>&-; exit $?`;

/** The descriptor of the leash in the first process of a guest. */
export const LEASH_FD = 3;

/**
 * The lab holds the other end of descriptor 3. A process in the guest's group reads from it and kills the group at end
 * of file, at once. Then a process of a session of its own removes the guest's folder, in which nothing writes any
 * more. Both are nobody's children, so that the guest has only children that it started itself. The lab closes its end
 * when a guest exits: what it forked ends then too.
 *
 * What leaves the group by setsid(2) is in the guest's pid namespace, whose first process is in the group. Where no
 * such namespace is permitted (user namespaces are disabled), it survives. runsc does not need one: it asks the kernel
 * to kill its sandbox with its parent (PR_SET_PDEATHSIG).
 */
const LEASH = `folder=$1 own=$2
shift 2
({ read -r _; kill -KILL 0; } <&${LEASH_FD} 2>/dev/null |
  setsid sh -c 'read -r _; test -z "$1" || rm -rf -- "$1"' sh "$folder" >/dev/null 2>&1 ${LEASH_FD}<&- &)
if test "$own"; then
  for users in "" "--user --map-current-user"; do
    unshare $users ${OWN_PIDS} true 2>/dev/null || continue
    exec unshare $users ${OWN_PIDS} sh -c '${FIRST_PROCESS}' sh "$@" ${LEASH_FD}<&-
  done
fi
exec "$@" ${LEASH_FD}<&-`;

/** Returns the command that runs a launch on the leash. Its LEASH_FD has to stay open as long as the guest may live. */
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
