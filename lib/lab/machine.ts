/** A machine runs a guest: the interface, and the process with limits that every machine starts. */
import type { ChildProcessByStdio } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import path from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { MachineName } from "./experiment.ts";
import type { Launch } from "./leash.ts";
import { deathOf, putOnLeash } from "./leash.ts";
import type { Task } from "./task.ts";
import type { Message } from "./transcript.ts";
import { readMessage } from "./transcript.ts";

/** Something that runs a kernel and a guest in it: this host, qemu, user-mode Linux or gVisor. */
export interface Machine {
  /** What runs the kernel. */
  readonly name: MachineName;
  /** Names one column: "qemu 6.1.0-50-cloud-amd64". */
  readonly title: string;
  /** What uname(2) must report there; absent where any release will do. */
  readonly release?: string;
  /** The sysctls that a guest sets before the first experiment. */
  readonly sysctls?: Readonly<Record<string, string>>;
  /**
   * Returns why this machine cannot run here, and what to install; null when it can. May boot a guest to find out.
   * Rejects with the signal's reason.
   */
  missing(signal?: AbortSignal): Promise<string | null>;
  /** Whether instructions are translated: its rates are not a kernel's. Rejects like `missing`. */
  isEmulated(signal?: AbortSignal): Promise<boolean>;
  /** Rejects like `missing`. */
  launch(task: Task, signal?: AbortSignal): Promise<Launch>;
}

/** Limits that end a guest that does not end by itself. */
export interface Limits {
  /** Kills a guest after this long without a message: longer than the longest experiment. */
  readonly silenceMs: number;
  readonly totalMs: number;
  readonly outputBytes: number;
}

export const LIMITS: Limits = { silenceMs: 90_000, totalMs: 900_000, outputBytes: 4_000_000 };

/** Why a guest ended; null when it ended normally. */
export type Ending = string | null;

/** The root of the package: dist/, build/ or prebuilds/, and package.json are what a guest needs. */
export const PACKAGE_ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const GUEST = path.join(PACKAGE_ROOT, "dist/lab/guest.js");

/** What a line of a guest's output is: not for us, one of our messages, or the last of them. */
type Line = "noise" | "message" | "last";

/** Throws what the guest must not print: it is then killed. */
type ReadLine = (line: string) => Line;

interface RunOptions {
  readonly limits?: Limits;
  readonly signal?: AbortSignal;
}

/** Runs a guest to its end, or kills it; calls `onMessage` with each message. Rejects with the signal's reason. */
export async function runGuest(
  machine: Machine,
  task: Task,
  onMessage: (message: Message) => void,
  { limits = LIMITS, signal }: RunOptions = {},
): Promise<Ending> {
  const readLine = (line: string): Line => {
    const message = readMessage(line, task.nonce);
    if (message?.kind === "end") return "last";
    if (message) onMessage(message);
    return message ? "message" : "noise";
  };
  return runLaunch(await machine.launch(task, signal), readLine, limits, signal);
}

/** How long a probed guest has to print its words, and the probes of this process by name. */
export const probes = { limitMs: 30_000, endings: new Map<string, Promise<Ending>>() };

/**
 * Runs a guest that only has to print `words`: an exit status proves nothing, qemu's is 0 when it is killed by
 * SIGTERM. Returns null when it printed them, otherwise why it did not. Each name is probed once in this process:
 * whoever asks meanwhile waits for the same guest. Rejects with the signal's reason, and forgets the name then.
 */
export async function probe(
  name: string,
  words: string,
  makeLaunch: () => Launch,
  signal?: AbortSignal,
): Promise<Ending> {
  const running = probes.endings.get(name);
  if (running) {
    const ending = await running.catch(() => undefined);
    signal?.throwIfAborted();
    // Another caller's signal ended that probe.
    return ending === undefined ? probe(name, words, makeLaunch, signal) : ending;
  }
  const probing = runProbe(words, makeLaunch, signal);
  probes.endings.set(name, probing);
  return probing.catch((error: unknown) => {
    probes.endings.delete(name);
    throw error;
  });
}

async function runProbe(words: string, makeLaunch: () => Launch, signal?: AbortSignal): Promise<Ending> {
  const { limitMs } = probes;
  const limits = { silenceMs: limitMs, totalMs: 2 * limitMs, outputBytes: PROBE_OUTPUT_BYTES };
  const readLine = (line: string): Line => (line.includes(words) ? "last" : "noise");
  return runLaunch(makeLaunch(), readLine, limits, signal);
}

const PROBE_OUTPUT_BYTES = 200_000;

/** Enough for a panic and the stack trace below it. */
const MOST_TAIL = 8000;

/** Runs a program on the leash and returns when it has ended, for whatever reason. */
export async function runLaunch(
  launch: Launch,
  readLine: ReadLine,
  limits: Limits,
  signal?: AbortSignal,
): Promise<Ending> {
  try {
    signal?.throwIfAborted();
    const guest = new Guest(launch, readLine, limits);
    const abort = () => guest.kill("interrupted");
    signal?.addEventListener("abort", abort, { once: true });
    const ending = await guest.ended;
    signal?.removeEventListener("abort", abort);
    signal?.throwIfAborted();
    return ending;
  } finally {
    if (launch.folder) rmSync(launch.folder, { recursive: true, force: true });
  }
}

class Guest {
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #limits: Limits;
  readonly #readLine: ReadLine;
  #silence: NodeJS.Timeout | undefined;
  #verdict: Ending | undefined;
  #bytes = 0;
  #rest = "";
  #tail = "";

  constructor(launch: Launch, readLine: ReadLine, limits: Limits) {
    this.#limits = limits;
    this.#readLine = readLine;
    const { file, args } = putOnLeash(launch);
    this.#child = spawn(file, args, {
      stdio: ["pipe", "pipe", "pipe"],
      detached: true, // A process group of its own.
    });
    const total = setTimeout(() => this.kill("it ran too long"), limits.totalMs);
    this.#listen();
    this.ended = new Promise<Ending>((resolve) => {
      const end = (why: string) => {
        clearTimeout(total);
        clearTimeout(this.#silence);
        resolve(this.#verdict === undefined ? this.#describeDeath(why) : this.#verdict);
      };
      this.#child.on("error", (error) => end(error.message));
      this.#child.on("close", (code, by) => end(deathOf(code, by)));
    });
  }

  /** Kills the guest. Only the first call sets the verdict. */
  kill(verdict: Ending): void {
    if (this.#verdict === undefined) this.#verdict = verdict;
    this.#child.stdin.destroy(); // See leash.ts.
    // A process that has left the group may keep these open.
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }

  #listen(): void {
    this.#restartSilence();
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => this.#count(text));
  }

  #count(text: string): void {
    this.#bytes += text.length;
    this.#tail = (this.#tail + text).slice(-MOST_TAIL);
    if (this.#bytes > this.#limits.outputBytes) this.kill("it printed too much");
  }

  #read(text: string): void {
    this.#count(text);
    if (this.#verdict !== undefined) return;
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#take(line);
  }

  #take(line: string): void {
    if (this.#verdict !== undefined) return;
    try {
      const kind = this.#readLine(line);
      if (kind !== "noise") this.#restartSilence();
      if (kind === "last") this.kill(null);
    } catch (error) {
      this.kill((error as Error).message);
    }
  }

  #restartSilence(): void {
    clearTimeout(this.#silence);
    const seconds = Math.round(this.#limits.silenceMs / 1000);
    this.#silence = setTimeout(
      () => this.kill(`it sent no message for ${seconds} s`),
      this.#limits.silenceMs,
    );
  }

  /** Describes the end by the last line of output, or by a kernel's panic, which is more useful. */
  #describeDeath(why: string): string {
    const lines = this.#tail.split("\n").filter((line) => line.trim() && !line.includes("@selfconnect"));
    const panic = lines.find((line) => /panic|Oops|BUG:|general protection/.test(line));
    const words = (panic ?? lines.at(-1) ?? "").replaceAll(/[^\x20-\x7e]/g, "").trim();
    return `it died (${why})${words ? `: ${words.slice(0, 160)}` : ""}`;
  }
}

/** Why a machine with all its programs cannot run here, from the end of its probe; null when it can. */
export function cannotRun(machine: string, ending: Ending, hint = ""): string | null {
  if (ending === null) return null;
  return `${machine} cannot run here: ${ending}${hint ? ` (${hint})` : ""}`;
}

/** Returns which programs are missing, and their Debian packages; null when there are all. */
export function missingPrograms(programs: Readonly<Record<string, string>>): string | null {
  const missing = Object.keys(programs).filter((program) => !hasProgram(program));
  if (missing.length === 0) return null;
  const packages = [...new Set(missing.map((program) => programs[program]!))];
  return `needs ${missing.join(", ")} (Debian: apt-get install ${packages.join(" ")})`;
}

function hasProgram(program: string): boolean {
  return spawnSync("sh", ["-c", 'command -v "$1"', "sh", program]).status === 0;
}
