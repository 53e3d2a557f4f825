/** A machine runs a guest: the interface, and the bounded process that every machine comes down to. */
import { spawn, spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { MachineName } from "./experiment.ts";
import type { Task } from "./task.ts";
import type { Message } from "./transcript.ts";
import { readMessage } from "./transcript.ts";

/** One process to start; `dispose` takes away what was made for it. */
export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  readonly dispose?: () => void;
}

export interface Machine {
  readonly name: MachineName;
  /** Names one column: "qemu 6.1.0-50-cloud-amd64". */
  readonly title: string;
  /** What uname(2) must say there; absent where any release will do. */
  readonly release?: string;
  /** Whether instructions are translated: its rates are not a kernel's. */
  readonly isEmulated: boolean;
  /** Why this machine cannot run here, and what to install; null when it can. */
  missing(): string | null;
  launch(task: Task): Launch;
}

export interface Limits {
  /** A guest that says nothing for so long is killed: longer than the longest experiment. */
  readonly silenceMs: number;
  readonly totalMs: number;
  readonly outputBytes: number;
}

export const LIMITS: Limits = { silenceMs: 90_000, totalMs: 900_000, outputBytes: 4_000_000 };

/** How a guest ended: null when it said all it had to say. */
export type Ending = string | null;

/** The root of the package: dist/, build/ or prebuilds/, and package.json are what a guest needs. */
export const PACKAGE_ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const GUEST = path.join(PACKAGE_ROOT, "dist/lab/guest.js");

/** Runs a guest to its end, or kills it, telling each message as it comes. */
export function runGuest(
  machine: Machine,
  task: Task,
  tell: (message: Message) => void,
  { limits = LIMITS, signal }: { limits?: Limits; signal?: AbortSignal } = {},
): Promise<Ending> {
  signal?.throwIfAborted();
  const launch = machine.launch(task);
  return new Promise<Ending>((resolve, reject) => {
    const guest = new Guest(launch, task.nonce, tell, limits, resolve);
    const abort = () => {
      guest.kill("interrupted");
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
    guest.ended.then(() => signal?.removeEventListener("abort", abort));
  }).finally(() => launch.dispose?.());
}

class Guest {
  readonly ended: Promise<void>;
  readonly #child;
  readonly #limits: Limits;
  readonly #nonce: string;
  readonly #tell: (message: Message) => void;
  #silence: NodeJS.Timeout | undefined;
  #verdict: Ending | undefined;
  #bytes = 0;
  #rest = "";
  #tail = "";

  constructor(
    launch: Launch,
    nonce: string,
    tell: (message: Message) => void,
    limits: Limits,
    resolve: (ending: Ending) => void,
  ) {
    this.#limits = limits;
    this.#nonce = nonce;
    this.#tell = tell;
    // A process group of its own, so that all of it can be killed.
    this.#child = spawn(launch.file, launch.args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    const total = setTimeout(() => this.kill("it took too long as a whole"), limits.totalMs);
    const leave = () => this.kill("interrupted");
    process.once("exit", leave);
    this.#listen();
    this.ended = new Promise<void>((settle) => {
      const end = (why: string) => {
        clearTimeout(total);
        process.off("exit", leave);
        clearTimeout(this.#silence);
        resolve(this.#verdict === undefined ? this.#died(why) : this.#verdict);
        settle();
      };
      this.#child.on("error", (error) => end(error.message));
      this.#child.on("close", (code, by) => end(by ? `killed by ${by}` : `exit code ${code}`));
    });
  }

  /** The first verdict stands. */
  kill(verdict: Ending): void {
    if (this.#verdict === undefined) this.#verdict = verdict;
    const { pid } = this.#child;
    if (pid === undefined || this.#child.exitCode !== null) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      this.#child.kill("SIGKILL"); // Its group is gone already.
    }
  }

  #listen(): void {
    this.#expectMore();
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => this.#count(text));
  }

  #count(text: string): void {
    this.#bytes += text.length;
    this.#tail = (this.#tail + text).slice(-2000);
    if (this.#bytes > this.#limits.outputBytes) this.kill("it said too much");
  }

  #read(text: string): void {
    this.#count(text);
    if (this.#verdict !== undefined) return;
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#hear(line);
  }

  #hear(line: string): void {
    if (this.#verdict !== undefined) return;
    try {
      const message = readMessage(line, this.#nonce);
      if (!message) return;
      this.#expectMore();
      if (message.kind === "end") this.kill(null);
      else this.#tell(message);
    } catch (error) {
      this.kill((error as Error).message);
    }
  }

  #expectMore(): void {
    clearTimeout(this.#silence);
    const seconds = Math.round(this.#limits.silenceMs / 1000);
    this.#silence = setTimeout(() => this.kill(`it said nothing for ${seconds} s`), this.#limits.silenceMs);
  }

  /** Its last words: a kernel's panic is the best account there is. */
  #died(why: string): string {
    const lines = this.#tail.split("\n").filter((line) => line.trim() && !line.includes("@selfconnect"));
    const panic = lines.find((line) => /panic|Oops|BUG:|general protection/.test(line));
    const words = (panic ?? lines.at(-1) ?? "").replaceAll(/[^\x20-\x7e]/g, "").trim();
    return `it died (${why})${words ? `: ${words.slice(0, 160)}` : ""}`;
  }
}

/** Null when all programs are there; otherwise what is missing, and the Debian packages that bring it. */
export function missingPrograms(programs: Readonly<Record<string, string>>): string | null {
  const missing = Object.keys(programs).filter((program) => !hasProgram(program));
  if (missing.length === 0) return null;
  const packages = [...new Set(missing.map((program) => programs[program]!))];
  return `needs ${missing.join(", ")} (Debian: apt-get install ${packages.join(" ")})`;
}

function hasProgram(program: string): boolean {
  return spawnSync("sh", ["-c", 'command -v "$1"', "sh", program]).status === 0;
}
