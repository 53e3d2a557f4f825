/** Lists the network namespaces of this host's processes. */
import { closeSync, constants, openSync, readlinkSync } from "node:fs";
import { isForbidden, seesEveryProcess } from "./processes.ts";
import { listProcesses } from "./tables.ts";

/** A network namespace, and a process in it. */
export interface NetworkNamespace {
  /** Its number in the link /proc/PID/ns/net. */
  readonly id: number;
  readonly pid: number;
}

/** The network namespaces that were found, and whether all processes could be read. */
export interface FoundNamespaces {
  readonly namespaces: readonly NetworkNamespace[];
  readonly isComplete: boolean;
}

/** proc(5), /proc/PID/ns/net: finds every network namespace with a process, except the one of this process. */
export function findOtherNamespaces(): FoundNamespaces {
  const found = new Map<number, NetworkNamespace>();
  let isComplete = seesEveryProcess();
  const own = readId("self");
  for (const pid of listProcesses()) {
    const id = readId(pid);
    if (id === "unreadable") isComplete = false;
    if (typeof id === "number" && id !== own && !found.has(id)) found.set(id, { id, pid });
  }
  return { namespaces: [...found.values()], isComplete };
}

/** open(2) of /proc/PID/ns/net while `use` runs. Returns null when the process has ended or is not permitted. */
export function withNamespace<T>({ pid }: NetworkNamespace, use: (fd: number) => T): T | null {
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}/ns/net`, constants.O_RDONLY);
  } catch {
    return null;
  }
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function readId(pid: number | "self"): number | "unreadable" | null {
  try {
    const id = /^net:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[1];
    return id === undefined ? null : Number(id);
  } catch (error) {
    return isForbidden(error) ? "unreadable" : null; // It has ended.
  }
}
