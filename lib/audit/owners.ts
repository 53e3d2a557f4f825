/** Finds the owners of sockets without blocking the event loop. */
import { readFileSync, readlinkSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";
import { listProcesses, readCommand } from "../kernel/tables.ts";

/** The process that has a socket open, and where it runs. */
export interface Owner {
  readonly pid: number;
  readonly command: string;
  /** cgroups(7): the path in the unified hierarchy. It names the container. Null where it is not visible. */
  readonly cgroup: string | null;
}

/** After so many descriptors the search yields to the event loop: some milliseconds. */
const LINKS_PER_TURN = 2000;

/** proc(5), /proc/PID/fd: finds one owner of each socket, in one pass over the processes. */
export async function findOwners(inodes: Iterable<number>): Promise<Map<number, Owner>> {
  const missing = new Set([...inodes].filter((inode) => inode !== 0));
  const owners = new Map<number, Owner>();
  let links = 0;
  for (const pid of missing.size > 0 ? listProcesses() : []) {
    let owner: Owner | null = null;
    for (const fd of await listDescriptors(pid)) {
      if (++links % LINKS_PER_TURN === 0) await turn();
      const inode = readInode(pid, fd);
      if (inode === null || !missing.delete(inode)) continue;
      owner ??= readOwner(pid);
      if (owner) owners.set(inode, owner);
      if (missing.size === 0) return owners;
    }
  }
  return owners;
}

async function listDescriptors(pid: number): Promise<string[]> {
  try {
    return await readdir(`/proc/${pid}/fd`);
  } catch {
    return []; // No permission, or the process has ended.
  }
}

const SOCKET_LINK = "socket:[";

/** Without a pattern: a process may have 100,000 descriptors, and the time of an audit is spent here. */
function readInode(pid: number, fd: string): number | null {
  try {
    const link = readlinkSync(`/proc/${pid}/fd/${fd}`);
    return link.startsWith(SOCKET_LINK) ? Number(link.slice(SOCKET_LINK.length, -1)) : null;
  } catch {
    return null; // The process has closed it since the listing.
  }
}

/** proc(5): names a process; null when it has ended. */
export function readOwner(pid: number): Owner | null {
  try {
    return { pid, command: readCommand(pid), cgroup: readCgroup(pid) };
  } catch {
    return null; // The process has ended meanwhile.
  }
}

function readCgroup(pid: number): string | null {
  try {
    return parseCgroup(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  } catch {
    return null; // The process has ended, or is not visible to us.
  }
}

/** proc(5), /proc/<pid>/cgroup: "0::/system.slice/docker-….scope". */
export function parseCgroup(text: string): string | null {
  const path = /^0::(.*)$/m.exec(text)?.[1];
  return path && path !== "/" ? path : null;
}
