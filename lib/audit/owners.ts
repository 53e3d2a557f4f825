/** Finds the owners of sockets without blocking the event loop. */
import { readdir } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";
import type { FoundProcesses } from "../kernel/owners.ts";
import { OwnerSearch } from "../kernel/owners.ts";
import { isForbidden } from "../kernel/processes.ts";

/** findProcesses() in turns of the event loop; descriptors are listed on a thread of Node's. */
export async function findOwners(inodes: Iterable<number>): Promise<FoundProcesses> {
  const search = new OwnerSearch(inodes);
  for (const pid of search.listProcesses()) {
    for (const _ of search.read(pid, await listDescriptors(pid))) await turn();
  }
  return search.found;
}

/** Null when it is not permitted. */
async function listDescriptors(pid: number): Promise<string[] | null> {
  try {
    return await readdir(`/proc/${pid}/fd`);
  } catch (error) {
    return isForbidden(error) ? null : []; // The process has ended.
  }
}
