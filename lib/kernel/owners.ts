/** Finds the processes that have a socket open, and names their user, unit and container. */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { isForbidden, seesEveryProcess } from "./processes.ts";
import { listProcesses, readCommand } from "./tables.ts";

/** A process that has a socket open. Several can have the same one: a parent and its children. */
export interface Process {
  readonly pid: number;
  /** The first word of its command line, without its directory. */
  readonly command: string;
  /** Its user's name, or the number where /etc/passwd has no name. */
  readonly user: string;
  /** systemd's unit, such as "nginx.service"; null without one. */
  readonly unit: string | null;
  /** The first twelve digits of the id of its container; null without one. */
  readonly container: string | null;
  /** The descriptor; null for a socket in the fixed files of an io_uring. */
  readonly fd: number | null;
}

/** The processes that have sockets open, and whether all processes could be read. */
export interface FoundProcesses {
  readonly byInode: ReadonlyMap<number, readonly Process[]>;
  /** False when some process is not visible, or its descriptors are not readable without root. */
  readonly isComplete: boolean;
}

/** The link of a descriptor of an io_uring. */
const RING_LINK = "anon_inode:[io_uring]";
const SOCKET_LINK = "socket:[";
const NO_USES: readonly SocketUse[] = [];
/** A step of a search: some milliseconds. */
const LINKS_PER_STEP = 2000;
const CONTAINER_ID = /(?:^|[/:-])([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?(?=$|\/)/;
const UNITS = /[^/]+\.(?:service|scope|slice)(?=\/|$)/g;

/** proc(5), /proc/PID/fd and fdinfo: finds every process that has one of these sockets open. */
export function findProcesses(inodes: Iterable<number>): FoundProcesses {
  const search = new OwnerSearch(inodes);
  for (const pid of search.listProcesses()) for (const _ of search.read(pid, listDescriptors(pid)));
  return search.found;
}

/** The search of findProcesses(), in steps: another one yields to the event loop between them. */
export class OwnerSearch {
  readonly #wanted: ReadonlySet<number>;
  readonly #byInode = new Map<number, Process[]>();
  readonly #users = readUsers();
  #isComplete: boolean;
  #links = 0;

  constructor(inodes: Iterable<number>) {
    this.#wanted = new Set([...inodes].filter((inode) => inode !== 0));
    this.#isComplete = this.#wanted.size === 0 || seesEveryProcess();
  }

  /** Of the processes that were read until now. */
  get found(): FoundProcesses {
    return { byInode: this.#byInode, isComplete: this.#isComplete };
  }

  /** The processes to read: none when no socket is wanted. */
  listProcesses(): number[] {
    return this.#wanted.size === 0 ? [] : listProcesses();
  }

  /** Reads the descriptors of a process, null when that is not permitted. Yields after some milliseconds of work. */
  *read(pid: number, fds: readonly string[] | null): Generator<void> {
    this.#isComplete &&= fds !== null;
    let owner: Process | null = null;
    for (const name of fds ?? []) {
      if (++this.#links % LINKS_PER_STEP === 0) yield;
      for (const { inode, fd } of readUses(pid, name)) {
        if (!this.#wanted.has(inode)) continue;
        owner ??= readProcess(pid, fd, this.#users);
        const others = this.#byInode.get(inode) ?? [];
        if (owner && others.at(-1)?.pid !== pid) this.#byInode.set(inode, [...others, { ...owner, fd }]);
      }
    }
  }
}

/** Where a process has a socket: a descriptor, or (null) the fixed files of an io_uring. */
export interface SocketUse {
  readonly inode: number;
  readonly fd: number | null;
}

/** proc(5), /proc/PID/fd: the sockets that a process has open; null when that is not readable. */
export function listUses(pid: number): SocketUse[] | null {
  return listDescriptors(pid)?.flatMap((fd) => readUses(pid, fd)) ?? null;
}

function listDescriptors(pid: number): string[] | null {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch (error) {
    return isForbidden(error) ? null : []; // It has ended.
  }
}

function readUses(pid: number, fd: string): readonly SocketUse[] {
  const link = readLink(`/proc/${pid}/fd/${fd}`);
  // Without a pattern: a process may have 100,000 descriptors, and the time of an audit is spent here.
  if (link.startsWith(SOCKET_LINK))
    return [{ inode: Number(link.slice(SOCKET_LINK.length, -1)), fd: Number(fd) }];
  return link === RING_LINK ? listFixedFiles(`/proc/${pid}/fdinfo/${fd}`) : NO_USES;
}

/** io_uring_register(2), IORING_REGISTER_FILES: the sockets among a ring's fixed files, which have no descriptor. */
function listFixedFiles(fdinfo: string): SocketUse[] {
  const files = /^UserFiles:.*\n((?: +\d+: .*\n)*)/m.exec(readText(fdinfo))?.[1] ?? "";
  return [...files.matchAll(/socket:\[(\d+)\]/g)].map((match) => ({ inode: Number(match[1]), fd: null }));
}

/** proc(5): names a process that has a socket open; null when it has ended. */
export function readProcess(
  pid: number,
  fd: number | null,
  users: ReadonlyMap<number, string>,
): Process | null {
  try {
    const { uid } = statSync(`/proc/${pid}`);
    const { unit, container } = parsePlace(readText(`/proc/${pid}/cgroup`));
    return {
      pid,
      command: readCommand(pid),
      user: users.get(uid) ?? String(uid),
      unit,
      container,
      fd,
    };
  } catch {
    return null; // It has ended.
  }
}

/**
 * cgroups(7), /proc/PID/cgroup: finds the unit and the container in the path of the unified hierarchy, or in the first
 * path that names one.
 */
export function parsePlace(text: string): Pick<Process, "unit" | "container"> {
  const paths = text.split("\n").map((line) => line.split(":").slice(2).join(":"));
  const container = paths.map((path) => CONTAINER_ID.exec(path)?.[1]).find(Boolean) ?? null;
  // A unit may have groups of its own below it: the last one that is named as a unit.
  const unit = paths.flatMap((path) => path.match(UNITS)?.at(-1) ?? []).at(0) ?? null;
  return { unit: container === null ? unit : null, container };
}

/** passwd(5): the names of users by their numbers. */
export function readUsers(): Map<number, string> {
  const rows = readText("/etc/passwd")
    .split("\n")
    .map((line) => line.split(":"));
  return new Map(rows.filter((row) => row.length > 2).map(([name, , uid]) => [Number(uid), name!]));
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // It was closed since the listing.
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // Not readable, or its process has ended.
  }
}
