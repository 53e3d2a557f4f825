/** Files that commands write: whole, or not at all. */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
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

/** The kernel follows as many links (path_resolution(7)). */
const MOST_LINKS = 40;
const NEW_FILE_MODE = 0o666;

/** Parts that are not whole yet. */
const unfinished = new Set<string>();
// A process that ends in the middle, by whatever way, leaves none behind.
process.on("exit", () => {
  for (const part of unfinished) rmSync(part, { force: true });
});

/** Writes the file, or throws an error that names it and leaves what was there. */
export function writeWhole(file: string, data: string | Uint8Array): void {
  using whole = new WholeFile(file);
  whole.append(data);
  whole.commit();
}

/**
 * A file that appears at commit(): until then its text grows beside it. A link is followed, and a file that is
 * replaced hands on its mode. A device, a pipe or this process's own output is written to, for it cannot be replaced.
 */
export class WholeFile implements Disposable {
  readonly #file: string;
  readonly #output: Output;

  constructor(file: string) {
    this.#file = file;
    this.#output = this.#named(() => openOutput(file));
  }

  append(data: string | Uint8Array): void {
    this.#named(() => writeFileSync(this.#output.fd, data));
  }

  commit(): void {
    this.#named(() => {
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

  /** An error that names the file as the user did, not the part beside it. */
  #named<Result>(write: () => Result): Result {
    try {
      return write();
    } catch (error) {
      const [reason] = (error as Error).message.split(", ");
      throw new Error(`cannot write ${this.#file}: ${reason}`, { cause: error });
    }
  }
}

interface Output {
  readonly fd: number;
  readonly target: string;
  /** What is renamed to the target; null where the target itself is written to. */
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
  unfinished.add(part);
  if (there) fchmodSync(fd, there.mode);
  return { fd, target, part };
}

function isSameFile(one: Stats, other: Stats): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}

/** Where a link leads whose end is not there yet. */
function followLinks(file: string): string {
  let target = file;
  for (let links = 0; links < MOST_LINKS; links++) {
    const link = linkOf(target);
    if (link === null) break;
    target = path.resolve(realpathSync(path.dirname(target)), link);
  }
  return target;
}

function linkOf(file: string): string | null {
  try {
    return readlinkSync(file);
  } catch {
    return null; // No link, or nothing there: openSync fails if it must.
  }
}
