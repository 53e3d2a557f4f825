/** Finds the owners of sockets without blocking the event loop. */
import { readlinkSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";
import type { FoundProcesses, Process } from "../kernel/owners.ts";
import { listFixedFiles, RING_LINK, readProcess, readUsers } from "../kernel/owners.ts";
import { isForbidden, seesEveryProcess } from "../kernel/processes.ts";
import { listProcesses } from "../kernel/tables.ts";

/** After so many descriptors the search yields to the event loop: some milliseconds. */
const LINKS_PER_TURN = 2000;
const SOCKET_LINK = "socket:[";

/** proc(5), /proc/PID/fd: findProcesses() in turns: every process that has one of these sockets open. */
export async function findOwners(inodes: Iterable<number>): Promise<FoundProcesses> {
  const wanted = new Set(inodes);
  wanted.delete(0);
  const byInode = new Map<number, Process[]>();
  if (wanted.size === 0) return { byInode, isComplete: true };
  const users = readUsers();
  let isComplete = seesEveryProcess();
  let links = 0;
  for (const pid of listProcesses()) {
    const fds = await listDescriptors(pid);
    isComplete &&= fds !== null;
    let owner: Process | null = null;
    const add = (inode: number, fd: number | null) => {
      if (!wanted.has(inode)) return;
      owner ??= readProcess(pid, fd, users);
      const others = byInode.get(inode) ?? [];
      if (owner && others.at(-1)?.pid !== pid) byInode.set(inode, [...others, { ...owner, fd }]);
    };
    for (const fd of fds ?? []) {
      if (++links % LINKS_PER_TURN === 0) await turn();
      const link = readLink(`/proc/${pid}/fd/${fd}`);
      // Without a pattern: a process may have 100,000 descriptors, and the time of an audit is spent here.
      if (link.startsWith(SOCKET_LINK)) add(Number(link.slice(SOCKET_LINK.length, -1)), Number(fd));
      else if (link === RING_LINK) {
        for (const { inode } of listFixedFiles(`/proc/${pid}/fdinfo/${fd}`)) add(inode, null);
      }
    }
  }
  return { byInode, isComplete };
}

/** Null when it is not permitted. */
async function listDescriptors(pid: number): Promise<string[] | null> {
  try {
    return await readdir(`/proc/${pid}/fd`);
  } catch (error) {
    return isForbidden(error) ? null : []; // The process has ended.
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // The process has closed it since the listing.
  }
}
