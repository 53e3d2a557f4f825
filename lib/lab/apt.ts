/** apt(8) on lists of its own: what Debian's suites offer, and verified downloads. The host's lists are unchanged. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { writeWhole } from "../audit/whole-file.ts";

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MOST_OUTPUT_BYTES = 64 * 1024 * 1024;

/** One version of a package in one suite. */
export interface Offer {
  readonly name: string;
  readonly version: string;
  readonly suite: string;
}

/** What apt needs to know; the lists are kept below `folder`. */
export interface AptOptions {
  readonly folder: string;
  readonly suites: readonly string[];
  /** Default: the mirror of this host's apt. */
  readonly mirror?: string | undefined;
}

/** Debian's suites, as apt knows them after update(). */
export class Apt {
  readonly #folder: string;
  readonly #suites: readonly string[];
  readonly #mirror: string | undefined;
  #isUpdated = false;

  constructor({ folder, suites, mirror }: AptOptions) {
    this.#folder = path.resolve(folder);
    this.#suites = suites;
    this.#mirror = mirror;
  }

  /** The names of packages that match this regular expression. */
  search(pattern: string): string[] {
    this.#update();
    const lines = this.#run("apt-cache", ["search", "--names-only", pattern]).split("\n");
    return lines.flatMap((line) => line.split(" ")[0] || []);
  }

  /** Every version of these packages in the suites. */
  listOffers(names: readonly string[]): Offer[] {
    this.#update();
    const lines = this.#run("apt-cache", ["madison", ...names]).split("\n");
    return lines.flatMap(parseMadison);
  }

  /** apt-get download verifies the package by the signed lists. Returns the path of the archive in `folder`. */
  download({ name, version }: Pick<Offer, "name" | "version">, folder: string): string {
    this.#update();
    mkdirSync(folder, { recursive: true });
    const before = new Set(readdirSync(folder));
    this.#run("apt-get", ["download", `${name}=${version}`], folder);
    const archive = readdirSync(folder).find((file) => file.endsWith(".deb") && !before.has(file));
    if (!archive) throw new Error(`apt-get download ${name}=${version} left no archive`);
    return path.join(folder, archive);
  }

  #update(): void {
    if (this.#isUpdated) return;
    mkdirSync(path.join(this.#folder, "lists/partial"), { recursive: true });
    mkdirSync(path.join(this.#folder, "archives/partial"), { recursive: true });
    const mirror = this.#mirror ?? hostMirror();
    const lines = this.#suites.map((suite) => `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
    writeWhole(path.join(this.#folder, "sources.list"), lines.join(""));
    this.#run("apt-get", ["update", "-q"]);
    this.#isUpdated = true;
  }

  #run(program: string, args: readonly string[], cwd = this.#folder): string {
    const own = {
      "Dir::Etc::sourcelist": path.join(this.#folder, "sources.list"),
      "Dir::Etc::sourceparts": "-",
      "Dir::State::Lists": path.join(this.#folder, "lists"),
      "Dir::Cache": this.#folder,
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
function parseMadison(line: string): Offer[] {
  const [name = "", version = "", where = ""] = line.split("|").map((part) => part.trim());
  const suite = /(\S+)\/main /.exec(where)?.[1];
  return suite ? [{ name, version, suite }] : [];
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
