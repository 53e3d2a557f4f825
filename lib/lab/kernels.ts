/** Finds kernels in Debian suites by name; apt fetches and verifies them, and the user's cache keeps them. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { writeWhole } from "../audit/whole-file.ts";
import { compareNumbers } from "../kernel/release.ts";
import { checkKeys } from "../socket/misuse.ts";
import type { Offer } from "./apt.ts";
import { Apt } from "./apt.ts";
import type { KernelMachine } from "./experiment.ts";
import { missingPrograms } from "./machine.ts";
import { unpackUml } from "./uml-package.ts";

export const SUITES = [
  "bullseye",
  "bookworm",
  "bookworm-backports",
  "trixie",
  "trixie-backports",
  "sid",
] as const;

/** One available kernel. */
export interface KernelPackage {
  /** The machine that runs it. */
  readonly machine: KernelMachine;
  /** What uname(2) reports: "6.1.0-50-cloud-amd64". Of a User-mode Linux that is not cached, only "6.12". */
  readonly release: string;
  /** The version of the package: "6.1.176-1". */
  readonly version: string;
  /** Its suite, or "cache". */
  readonly suite: string;
  /** Whether it is in the cache already: then nothing is fetched. */
  readonly isCached: boolean;
}

/** A kernel to run. */
export interface Kernel {
  /** A vmlinuz, or the program that a User-mode Linux is. */
  readonly file: string;
  /** What uname(2) must report; absent for a file whose release is not known. */
  readonly release?: string;
}

/** Where a KernelShelf keeps kernels, and where it fetches them from. */
export interface ShelfOptions {
  /** Where kernels are kept; default defaultCacheFolder(). */
  readonly cacheFolder?: string;
  /** The Debian suites to take kernels from; default: bullseye to sid, with backports. */
  readonly suites?: readonly string[];
  /** The Debian mirror; default: the one in this host's apt configuration. */
  readonly mirror?: string;
}

/** What the cache keeps about a kernel, beside it. */
interface Entry {
  /** Absent in the entries of a vmlinuz. */
  readonly machine?: KernelMachine;
  readonly release: string;
  readonly version: string;
  readonly sha256: string;
}

const UML_PACKAGE = "user-mode-linux";
/** Extracts only the kernel image, which is below /boot or in the folder of the modules. */
const UNPACK = 'dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards "*/vmlinuz*" > "$2" && test -s "$2"';

/** $XDG_CACHE_HOME/selfconnect, or ~/.cache/selfconnect. */
export function defaultCacheFolder(): string {
  const base = process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache");
  return path.join(base, "selfconnect");
}

/** The kernels in the cache and in the suites. Queries the suites once, and only if needed. */
export class KernelShelf {
  /** Where its kernels are kept. */
  readonly folder: string;
  /** The Debian suites that it takes kernels from. */
  readonly suites: readonly string[];
  readonly #apt: Apt;
  #offered: KernelPackage[] | undefined;

  constructor(options: ShelfOptions = {}) {
    checkKeys("KernelShelf", options, ["cacheFolder", "suites", "mirror"]);
    const { cacheFolder = defaultCacheFolder(), suites = SUITES, mirror } = options;
    this.folder = cacheFolder;
    this.suites = suites;
    this.#apt = new Apt({ folder: path.join(cacheFolder, "apt"), suites, mirror });
  }

  /** The kernels in the cache, newest first. */
  listCached(): KernelPackage[] {
    const names = existsSync(this.#kernels) ? readdirSync(this.#kernels) : [];
    const records = names.filter((name) => name.endsWith(".json"));
    return records
      .map((name) => {
        const { machine = "qemu", release, version } = readEntry(path.join(this.#kernels, name));
        return { machine, release, version, suite: "cache", isCached: true };
      })
      .sort(newestFirst);
  }

  /** The kernels in the suites, newest first. Throws if apt or the mirror is not available. */
  listOffered(): KernelPackage[] {
    this.#offered ??= this.#querySuites();
    return this.#offered;
  }

  /**
   * Returns the kernel with this name for this machine: a release, a version or the beginning of one ("6.1"), or
   * "newest". Fetches it unless it is in the cache. Throws if there is no such kernel.
   */
  async get(word: string, machine: KernelMachine): Promise<Kernel> {
    const isWanted = (kernel: KernelPackage) => kernel.machine === machine && isNamed(kernel, word);
    const cached = word === "newest" ? undefined : this.listCached().find(isWanted);
    if (cached) return this.#verify(cached);
    const offered = this.listOffered().filter((kernel) => kernel.machine === machine);
    const found = word === "newest" ? offered[0] : offered.find(isWanted);
    if (found) return found.isCached ? this.#verify(found) : this.#fetch(found);
    const have = offered.map(({ version }) => version.replace(/-.*/, "")).join(", ") || "none";
    throw new Error(`no kernel ${word} for ${machine} in ${this.suites.join(", ")}: there is ${have}`);
  }

  get #kernels(): string {
    return path.join(path.resolve(this.folder), "kernels");
  }

  #entry(machine: KernelMachine, release: string): string {
    return path.join(this.#kernels, `${machine === "uml" ? "uml" : "vmlinuz"}-${release}.json`);
  }

  #file(machine: KernelMachine, release: string): string {
    const name = this.#entry(machine, release).replace(/\.json$/, "");
    return machine === "uml" ? path.join(name, "linux") : name;
  }

  /** Throws if the cached image is not the one that was fetched. */
  #verify({ machine, release }: KernelPackage): Kernel {
    const file = this.#file(machine, release);
    const { sha256 } = readEntry(this.#entry(machine, release));
    if (sha256Of(file) !== sha256) throw new Error(`${file} is not what was fetched: remove it`);
    return { file, release };
  }

  async #fetch(kernel: KernelPackage): Promise<Kernel> {
    checkTools();
    mkdirSync(this.#kernels, { recursive: true });
    const folder = mkdtempSync(path.join(this.#kernels, "fetch-"));
    try {
      const release =
        kernel.machine === "uml" ? await this.#fetchUml(kernel, folder) : this.#fetchImage(kernel, folder);
      const file = this.#file(kernel.machine, release);
      const entry: Entry = {
        machine: kernel.machine,
        release,
        version: kernel.version,
        sha256: sha256Of(file),
      };
      writeWhole(this.#entry(kernel.machine, release), `${JSON.stringify(entry)}\n`);
      return { file, release };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** Of the package only the kernel image is kept. Returns its release. */
  #fetchImage({ release, version }: KernelPackage, folder: string): string {
    const archive = this.#apt.download({ name: this.#packageOf(release), version }, folder);
    const unpacked = path.join(folder, "vmlinuz");
    execFileSync("sh", ["-c", UNPACK, "sh", archive, unpacked], { stdio: "pipe" });
    renameSync(unpacked, this.#file("qemu", release));
    return release;
  }

  /** Keeps the program, and the C library of its suite where this host's does not run it. Returns its release. */
  async #fetchUml({ version, suite }: KernelPackage, folder: string): Promise<string> {
    const archive = this.#apt.download({ name: UML_PACKAGE, version }, folder);
    const made = path.join(folder, "made");
    const fetchLibrary = () => this.#apt.download(this.#libraryOf(suite), folder);
    const release = await unpackUml(archive, made, fetchLibrary);
    const kept = path.dirname(this.#file("uml", release));
    rmSync(kept, { recursive: true, force: true });
    renameSync(made, kept);
    return release;
  }

  #libraryOf(suite: string): Offer {
    const library = this.#apt.listOffers(["libc6"]).find((offer) => offer.suite === suite);
    if (!library) throw new Error(`no libc6 in ${suite}`);
    return library;
  }

  /** The package with the image: since about 6.19 Debian has a separate one. */
  #packageOf(release: string): string {
    const binary = `linux-binary-${release}`;
    return this.#apt.listOffers([binary]).length > 0 ? binary : `linux-image-${release}`;
  }

  #querySuites(): KernelPackage[] {
    checkTools();
    const images = this.#apt.search("^linux-image-[0-9].*-cloud-amd64$");
    const cached = this.listCached();
    return this.#apt
      .listOffers([...images, UML_PACKAGE])
      .map((offer) => packageOf(offer, cached))
      .sort(newestFirst);
  }
}

function checkTools(): void {
  const missing = missingPrograms({ "apt-get": "apt", "dpkg-deb": "dpkg", tar: "tar" });
  if (missing) throw new Error(`fetching kernels ${missing}`);
}

function readEntry(file: string): Entry {
  return JSON.parse(readFileSync(file, "utf8")) as Entry;
}

function packageOf({ name, version, suite }: Offer, cached: readonly KernelPackage[]): KernelPackage {
  const machine = name === UML_PACKAGE ? "uml" : "qemu";
  const release = machine === "uml" ? version.replace(/um.*/, "") : name.replace(/^linux-image-/, "");
  const isSame = (one: KernelPackage) =>
    one.machine === machine && (machine === "uml" ? one.version === version : one.release === release);
  const known = cached.find(isSame);
  return { machine, release: known?.release ?? release, version, suite, isCached: known !== undefined };
}

function isNamed({ release, version }: KernelPackage, word: string): boolean {
  return [release, version].some(
    (name) => name === word || `${name.replace(/[^\d.].*/, "")}.`.startsWith(`${word}.`),
  );
}

function newestFirst(one: KernelPackage, other: KernelPackage): number {
  return compareNumbers(numbersOf(other.version), numbersOf(one.version));
}

/** All numbers of a version of Debian's, with those of the package: "6.1.176-1" is newer than "6.1.176". */
function numbersOf(version: string): number[] {
  return version.split(/\D+/).filter(Boolean).map(Number);
}

function sha256Of(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}
