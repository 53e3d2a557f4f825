/** Writes files whole or not at all: the only file that writes what stays on the disk. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";

/** The number of links that the kernel follows (path_resolution(7)). */
const MOST_LINKS = 40;
const NEW_FILE_MODE = 0o666;

/** Paths of the parts that are not yet renamed to their targets. */
const unfinished = new Set<string>();
let isWatchingExit = false;

/** However the process exits, no part stays behind. */
function removeAtExit(part: string): void {
  unfinished.add(part);
  if (isWatchingExit) return;
  isWatchingExit = true;
  process.on("exit", () => {
    for (const one of unfinished) rmSync(one, { force: true });
  });
}

/** Replaces the file. On failure leaves the old one and throws an error that names the file. */
export function writeWhole(file: string, data: string | Uint8Array): void {
  using whole = new WholeFile(file);
  whole.append(data);
  whole.commit();
}

/** The same, and a power cut leaves the old text or the new one. On a busy disk this blocks the process for seconds. */
export function writeDurably(file: string, data: string | Uint8Array): void {
  using whole = new WholeFile(file);
  whole.append(data);
  whole.sync();
  whole.commit();
}

/**
 * A file that commit() puts in place; until then the text goes to a part file beside it. Follows links, and keeps
 * the mode and the owner of a file that it replaces. Writes directly to a device, a pipe or this process's own output,
 * because these cannot be replaced. Its errors name the file and have the code of the system call that failed.
 */
export class WholeFile implements Disposable {
  readonly #file: string;
  readonly #output: Output;

  constructor(file: string) {
    this.#file = file;
    this.#output = this.#nameErrors(() => openOutput(file));
  }

  append(data: string | Uint8Array): void {
    this.#nameErrors(() => writeFileSync(this.#output.fd, data));
  }

  /** fsync(2): without it a power cut can leave the new name with no text. */
  sync(): void {
    this.#nameErrors(() => this.#output.part !== null && fsyncSync(this.#output.fd));
  }

  commit(): void {
    this.#nameErrors(() => {
      const { part, target } = this.#output;
      if (part === null) return;
      renameSync(part, target);
      unfinished.delete(part);
    });
  }

  [Symbol.dispose](): void {
    const { fd, part } = this.#output;
    if (fd > 2) closeSync(fd);
    if (part !== null && unfinished.delete(part)) rmSync(part, { force: true });
  }

  /** Rethrows an error of `write` with the user's name for the file instead of the part's. */
  #nameErrors<Result>(write: () => Result): Result {
    try {
      return write();
    } catch (error) {
      const { message, code } = error as NodeJS.ErrnoException;
      const named = new Error(`cannot write ${this.#file}: ${message.split(", ")[0]}`, { cause: error });
      throw Object.assign(named, { code });
    }
  }
}

interface Output {
  readonly fd: number;
  readonly target: string;
  /** The file to rename to the target; null where the target is written directly. */
  readonly part: string | null;
}

function openOutput(file: string): Output {
  const there = statSync(file, { throwIfNoEntry: false });
  if (there && !there.isFile()) {
    return { fd: openSync(file, constants.O_WRONLY), target: file, part: null };
  }
  const own = there && [1, 2].find((fd) => isSameFile(fstatSync(fd), there));
  if (own) return { fd: own, target: file, part: null };
  const target = there ? realpathSync(file) : followLinks(file);
  const part = `${target}.${process.pid}.part`;
  const fd = openSync(part, "w", NEW_FILE_MODE);
  removeAtExit(part);
  if (there) keepOwner(fd, there);
  return { fd, target, part };
}

/** The owner first: fchown(2) clears bits of the mode. */
function keepOwner(fd: number, { uid, gid, mode }: Stats): void {
  try {
    fchownSync(fd, uid, gid);
  } catch {
    // Only root can give a file to somebody else, and in a user namespace not to everybody.
  }
  fchmodSync(fd, mode);
}

function isSameFile(one: Stats, other: Stats): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}

/** The path that a link leads to, which need not exist yet. */
function followLinks(file: string): string {
  let target = file;
  for (let links = 0; links < MOST_LINKS; links++) {
    const link = readLink(target);
    if (link === null) break;
    target = path.resolve(realpathSync(path.dirname(target)), link);
  }
  return target;
}

function readLink(file: string): string | null {
  try {
    return readlinkSync(file);
  } catch {
    return null; // Not a link, or no such file: openSync reports what is wrong.
  }
}
