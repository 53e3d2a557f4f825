/** Finds kernels in Debian suites by name; apt fetches and verifies them, and the user's cache keeps them. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { missingPrograms } from "./machine.ts";
import type { Kernel } from "./machines/qemu.ts";

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
  /** The release that uname(2) reports: "6.1.0-50-cloud-amd64". */
  readonly release: string;
  /** The version of the package: "6.1.176-1". */
  readonly version: string;
  /** Its suite, or "cache". */
  readonly suite: string;
  readonly isCached: boolean;
}

/** Where a KernelShelf keeps kernels, and where it fetches them from. */
export interface ShelfOptions {
  readonly cacheFolder?: string;
  readonly suites?: readonly string[];
  /** The Debian mirror; default: the one in this host's apt configuration. */
  readonly mirror?: string;
}

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** Extracts only the kernel image, which is below /boot or in the folder of the modules. */
const UNPACK = 'dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards "*/vmlinuz*" > "$2" && test -s "$2"';
const MOST_OUTPUT_BYTES = 64 * 1024 * 1024;

/** $XDG_CACHE_HOME/selfconnect, or ~/.cache/selfconnect. */
export function defaultCacheFolder(): string {
  const base = process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache");
  return path.join(base, "selfconnect");
}

/** The kernels in the cache and in the suites. Queries the suites once, and only if needed. */
export class KernelShelf {
  readonly folder: string;
  readonly suites: readonly string[];
  readonly #mirror: string | undefined;
  #offered: KernelPackage[] | undefined;

  constructor({ cacheFolder = defaultCacheFolder(), suites = SUITES, mirror }: ShelfOptions = {}) {
    this.folder = cacheFolder;
    this.suites = suites;
    this.#mirror = mirror;
  }

  /** The kernels in the cache, newest first. */
  listCached(): KernelPackage[] {
    const names = existsSync(this.#kernels) ? readdirSync(this.#kernels) : [];
    const records = names.filter((name) => name.endsWith(".json"));
    return records
      .map((name) => {
        const { release, version } = JSON.parse(readFileSync(path.join(this.#kernels, name), "utf8"));
        return { release, version, suite: "cache", isCached: true };
      })
      .sort(newestFirst);
  }

  /** The kernels in the suites, newest first. Throws if apt or the mirror is not available. */
  listOffered(): KernelPackage[] {
    this.#offered ??= this.#querySuites();
    return this.#offered;
  }

  /**
   * Returns the kernel with this name: the path of a vmlinuz, a release, a version or the beginning of one ("6.1"), or
   * "newest". Fetches it unless it is in the cache. Throws if there is no such kernel.
   */
  async get(word: string): Promise<Kernel> {
    if (word.includes("/")) return { vmlinuz: word };
    const cached = word === "newest" ? undefined : this.listCached().find((kernel) => isNamed(kernel, word));
    if (cached) return this.#verify(cached);
    const offered = this.listOffered().find((kernel) => word === "newest" || isNamed(kernel, word));
    if (!offered) {
      const have = this.listOffered().map(({ version }) => version.replace(/-.*/, ""));
      throw new Error(`no kernel ${word} in ${this.suites.join(", ")}: there is ${have.join(", ")}`);
    }
    return offered.isCached ? this.#verify(offered) : this.#fetch(offered);
  }

  get #kernels(): string {
    return path.join(this.folder, "kernels");
  }

  #file(release: string): string {
    return path.join(this.#kernels, `vmlinuz-${release}`);
  }

  /** Throws if the cached image is not the one that was fetched. */
  #verify({ release }: KernelPackage): Kernel {
    const vmlinuz = this.#file(release);
    const { sha256 } = JSON.parse(readFileSync(`${vmlinuz}.json`, "utf8"));
    if (sha256Of(vmlinuz) !== sha256) throw new Error(`${vmlinuz} is not what was fetched: remove it`);
    return { vmlinuz, release };
  }

  /** apt-get download verifies the package by the signed lists; only its kernel image is kept. */
  #fetch({ release, version }: KernelPackage): Kernel {
    mkdirSync(this.#kernels, { recursive: true });
    const folder = mkdtempSync(path.join(this.#kernels, "fetch-"));
    const vmlinuz = this.#file(release);
    try {
      this.#apt("apt-get", ["download", `${this.#packageOf(release)}=${version}`], folder);
      const [archive = ""] = readdirSync(folder).filter((name) => name.endsWith(".deb"));
      execFileSync("sh", ["-c", UNPACK, "sh", path.join(folder, archive), vmlinuz], { stdio: "pipe" });
      const sha256 = sha256Of(vmlinuz);
      writeFileSync(`${vmlinuz}.json`, `${JSON.stringify({ release, version, sha256 })}\n`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    return { vmlinuz, release };
  }

  /** The package with the image: since about 6.19 Debian has a separate one. */
  #packageOf(release: string): string {
    const binary = `linux-binary-${release}`;
    return this.#apt("apt-cache", ["madison", binary]).includes(binary) ? binary : `linux-image-${release}`;
  }

  #querySuites(): KernelPackage[] {
    const missing = missingPrograms({ "apt-get": "apt", "dpkg-deb": "dpkg", tar: "tar" });
    if (missing) throw new Error(`fetching kernels ${missing}`);
    this.#writeSources();
    this.#apt("apt-get", ["update", "-q"]);
    const names = this.#apt("apt-cache", ["search", "--names-only", "^linux-image-[0-9].*-cloud-amd64$"]);
    const packages = names.split("\n").flatMap((line) => line.split(" ")[0] || []);
    const releases = new Set(this.listCached().map(({ release }) => release));
    return this.#apt("apt-cache", ["madison", ...packages])
      .split("\n")
      .flatMap((line) => parseMadison(line, releases))
      .sort(newestFirst);
  }

  #writeSources(): void {
    mkdirSync(path.join(this.#aptFolder, "lists/partial"), { recursive: true });
    mkdirSync(path.join(this.#aptFolder, "archives/partial"), { recursive: true });
    const mirror = this.#mirror ?? hostMirror();
    const lines = this.suites.map((suite) => `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
    writeFileSync(path.join(this.#aptFolder, "sources.list"), lines.join(""));
  }

  get #aptFolder(): string {
    return path.join(this.folder, "apt");
  }

  /** Runs apt on separate lists, so that the host's are unchanged. */
  #apt(program: string, args: readonly string[], cwd = this.folder): string {
    const own = {
      "Dir::Etc::sourcelist": path.join(this.#aptFolder, "sources.list"),
      "Dir::Etc::sourceparts": "-",
      "Dir::State::Lists": path.join(this.#aptFolder, "lists"),
      "Dir::Cache": this.#aptFolder,
      "APT::Sandbox::User": os.userInfo().username,
      "Debug::NoLocking": "1",
    };
    const settings = Object.entries(own).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    return execFileSync(program, [...settings, ...args], {
      cwd,
      encoding: "utf8",
      maxBuffer: MOST_OUTPUT_BYTES,
      stdio: ["ignore", "pipe", "pipe"],
    });
  }
}

/** "linux-image-6.1.0-50-cloud-amd64 | 6.1.176-1 | MIRROR bookworm/main amd64 Packages" */
function parseMadison(line: string, cached: ReadonlySet<string>): KernelPackage[] {
  const [name = "", version = "", where = ""] = line.split("|").map((part) => part.trim());
  const release = name.replace(/^linux-image-/, "");
  const suite = /(\S+)\/main /.exec(where)?.[1];
  return suite ? [{ release, version, suite, isCached: cached.has(release) }] : [];
}

/** The mirror from which this host gets Debian's packages. */
function hostMirror(): string {
  const format = "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)";
  const text = execFileSync("apt-get", ["indextargets", "--format", format, "Created-By: Packages"], {
    encoding: "utf8",
  });
  const debian = text.split("\n").find((line) => line.endsWith("|Debian|Debian|main"));
  if (debian) return debian.split("|")[0]!;
  throw new Error("apt is not configured for Debian here: pass a mirror");
}

function isNamed({ release, version }: KernelPackage, word: string): boolean {
  return release === word || version === word || `${version.replace("-", ".")}.`.startsWith(`${word}.`);
}

function newestFirst(one: KernelPackage, other: KernelPackage): number {
  const [a, b] = [numbersOf(one.version), numbersOf(other.version)];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (b[i] ?? 0) - (a[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function numbersOf(version: string): number[] {
  return version.split(/\D+/).filter(Boolean).map(Number);
}

function sha256Of(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}
