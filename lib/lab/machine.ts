/** A machine runs a guest: the interface, and the process with limits that every machine starts. */
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, rmSync } from "node:fs";
import path from "node:path";
import type { Writable } from "node:stream";
import { packageFile } from "../socket/own-files.ts";
import type { MachineName } from "./experiment.ts";
import type { Conversation, Launch } from "./leash.ts";
import { deathOf, LEASH_FD, putOnLeash } from "./leash.ts";
import type { Task } from "./task.ts";
import type { Message } from "./transcript.ts";
import { readMessage } from "./transcript.ts";

/** Something that runs a kernel and a guest in it: this host, qemu, user-mode Linux, gVisor, or another host. */
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

/** What runGuest() rejects with where a guest never began: its machine cannot run here, for this reason. */
export class CannotRun extends Error {}

/** How long a program may take to introduce itself, and to leave when its work is done. */
const INTRODUCTION_MS = 30_000;
/** What it may print before that: the banner of a host, and what its shell prints at the start. */
const INTRODUCTION_BYTES = 100_000;
const LEAVING_MS = 5000;

/** The root of the package: dist/, build/ or prebuilds/, and package.json are what a guest needs. */
export const PACKAGE_ROOT = packageFile("");
export const GUEST = path.join(PACKAGE_ROOT, "dist/lab/guest.js");

/** What a line of a guest's output is: not for us, one of our messages, or the last of them. */
export type Line = "noise" | "message" | "last";

/** Throws what the guest must not print: it is then killed. */
export type ReadLine = (line: string) => Line;

interface RunOptions {
  readonly limits?: Limits;
  readonly signal?: AbortSignal;
}

/**
 * Runs a guest to its end, or kills it; calls `onMessage` with each message. Rejects with the signal's reason, and with
 * CannotRun.
 */
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
  const launch = await machine.launch(task, signal);
  const ending = await runLaunch(launch, readLine, limits, signal);
  if (launch.conversation?.hasBegun === false) throw new CannotRun(ending ?? "it ended before it began");
  return ending;
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
  readonly #child: ChildProcess;
  readonly #limits: Limits;
  readonly #readLine: ReadLine;
  readonly #conversation: Conversation | undefined;
  #silence: NodeJS.Timeout | undefined;
  #leaving: NodeJS.Timeout | undefined;
  #verdict: Ending | undefined;
  #bytes = 0;
  #rest = "";
  #tail = "";

  constructor(launch: Launch, readLine: ReadLine, limits: Limits) {
    this.#limits = limits;
    this.#readLine = readLine;
    this.#conversation = launch.conversation;
    const { file, args } = putOnLeash(launch);
    this.#child = spawn(file, args, {
      stdio: [launch.conversation ? "pipe" : "ignore", "pipe", "pipe", "pipe"],
      detached: true, // A process group of its own.
    });
    const total = setTimeout(() => this.kill("it ran too long"), limits.totalMs);
    this.#listen();
    this.ended = new Promise<Ending>((resolve) => {
      const end = (why: string) => {
        clearTimeout(total);
        clearTimeout(this.#silence);
        clearTimeout(this.#leaving);
        resolve(this.#verdict === undefined ? this.#describeDeath(why) : this.#verdict);
      };
      this.#child.on("error", (error) => end(error.message));
      this.#child.on("exit", () => this.#leash.destroy());
      this.#child.on("close", (code, by) => end(deathOf(code, by)));
    });
  }

  /** Kills the guest. Only the first call sets the verdict. */
  kill(verdict: Ending): void {
    if (this.#verdict === undefined) this.#verdict = verdict;
    this.#leash.destroy();
    this.#child.stdin?.destroy();
    // A process that has left the group may keep these open.
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }

  get #leash(): Writable {
    return this.#child.stdio[LEASH_FD] as Writable;
  }

  get #isIntroduced(): boolean {
    return this.#conversation?.hasBegun !== false;
  }

  #listen(): void {
    this.#restartSilence();
    this.#leash.on("error", () => {}); // A program that could not be started has no other end.
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#count(text));
    this.#child.stdin?.on("error", () => {}); // It has ended, which `close` reports.
    if (this.#conversation) this.#child.stdin?.write(this.#conversation.opening);
  }

  #count(text: string): void {
    this.#bytes += text.length;
    this.#tail = (this.#tail + text).slice(-MOST_TAIL);
    const { outputBytes } = this.#limits;
    const most = this.#isIntroduced ? outputBytes : Math.min(outputBytes, INTRODUCTION_BYTES);
    if (this.#bytes > most) this.kill("it printed too much");
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
      const kind = this.#isIntroduced ? this.#readLine(line) : this.#converse(this.#conversation!, line);
      if (kind !== "noise") this.#restartSilence();
      if (kind === "last") this.#finish();
    } catch (error) {
      this.kill((error as Error).message);
    }
  }

  #converse(conversation: Conversation, line: string): Line {
    const work = conversation.answer(line);
    if (work === null) return "noise";
    this.#child.stdin?.write(work);
    return "message";
  }

  /** One that was given its work over stdin has something to remove there: it gets the time for that. */
  #finish(): void {
    if (!this.#conversation) {
      this.kill(null);
      return;
    }
    this.#verdict = null;
    clearTimeout(this.#silence);
    this.#child.stdin?.end();
    this.#leaving = setTimeout(() => this.kill(null), LEAVING_MS);
  }

  #restartSilence(): void {
    clearTimeout(this.#silence);
    const { silenceMs } = this.#limits;
    const limitMs = this.#isIntroduced ? silenceMs : Math.min(silenceMs, INTRODUCTION_MS);
    const seconds = Math.round(limitMs / 1000);
    this.#silence = setTimeout(() => this.kill(`it sent no message for ${seconds} s`), limitMs);
  }

  /**
   * Describes the end by the last line of output; by a kernel's panic or the guest's own error, which are more useful:
   * after an error that nobody caught the last line is Node's version.
   */
  #describeDeath(why: string): string {
    const lines = this.#tail.split("\n").filter((line) => line.trim() && !line.includes("@selfconnect"));
    const panic = lines.find((line) => /panic|Oops|BUG:|general protection/.test(line));
    const error = lines.findLast((line) => /^\w*Error\b.*: /.test(line));
    const words = (panic ?? error ?? lines.at(-1) ?? "").replaceAll(/[^\x20-\x7e]/g, "").trim();
    const what = this.#isIntroduced ? "died" : "did not begin";
    return `it ${what} (${why})${words ? `: ${words.slice(0, 160)}` : ""}`;
  }
}

/** Why a machine with all its programs cannot run here, from the end of its probe; null when it can. */
export function cannotRun(machine: string, ending: Ending, hint = ""): string | null {
  if (ending === null) return null;
  return `${machine} cannot run here: ${ending}${hint ? ` (${hint})` : ""}`;
}

/** Returns which file of a guest this user cannot use; null when all can be. Another user may have started Node. */
export function missingAccess(): string | null {
  const modes = { [process.execPath]: constants.R_OK | constants.X_OK, [GUEST]: constants.R_OK };
  for (const [file, mode] of Object.entries(modes)) {
    try {
      accessSync(file, mode);
    } catch (error) {
      return `this user cannot use ${file} (${(error as NodeJS.ErrnoException).code}), which a guest runs`;
    }
  }
  return null;
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
