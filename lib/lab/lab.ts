/** The lab: runs every experiment on every machine, and saves the results after each. */
import { randomBytes } from "node:crypto";
import os from "node:os";
import { environment } from "../kernel/host.ts";
import { checkArray, checkKeys, invalidArgument, nearest, textOf } from "../socket/misuse.ts";
import type { Experiment, MachineName } from "./experiment.ts";
import type { Ending, Limits, Machine } from "./machine.ts";
import { CannotRun, LIMITS, runGuest } from "./machine.ts";
import type { GuestEnvironment, GuestFinding, Message } from "./transcript.ts";

export const LAB_SCHEMA = "selfconnect.lab/1";

/** One kernel's answer to one question, and the expected answer. */
export interface Finding extends Omit<GuestFinding, "status"> {
  /** The kernel that answered: an id of LabResult.kernels. */
  readonly kernel: string;
  /** "died": the guest ended twice without an answer; "not-here": the machine does not allow the experiment. */
  readonly status: GuestFinding["status"] | "died";
  /** Null if not known. */
  readonly expected: string | null;
  /** Null if no answer was expected, or there is none. */
  readonly isAsExpected: boolean | null;
}

/** One kernel: a column of the report. */
export interface LabKernel {
  /** The title of its column, which no other kernel of the result has. */
  readonly id: string;
  /** Where it ran; "worker" is another host of the queue, whose name is the id. */
  readonly machine: MachineName | "worker";
  /** What the lab has set there; absent where it has set nothing. */
  readonly sysctls?: Readonly<Record<string, string>>;
  /** Whether its processor was emulated: rates and times then say little. */
  readonly isEmulated: boolean;
  /** Why it could not run; null when it could. */
  readonly missing: string | null;
  /** Null until the guest has sent it. */
  readonly environment: GuestEnvironment | null;
}

/** The object of docs/schema/lab-1.json: every question, every kernel, and the answers so far. */
export interface LabResult {
  /** The name and version of the published schema. */
  readonly schema: typeof LAB_SCHEMA;
  /** When the first guest was started, as an ISO 8601 time. */
  readonly startedAt: string;
  /** When the last answer came; null while the lab runs. */
  readonly endedAt: string | null;
  /** The command line that made it; empty from a program. */
  readonly command: string;
  /** The version of this package. */
  readonly version: string;
  /** The commit of the package's clone; null in an installed package. */
  readonly commit: string | null;
  /** Which run of a fleet it is, so that it can be resumed; absent where no queue was used. */
  readonly run?: string;
  /** How many times a random thing was repeated. */
  readonly trials: number;
  /** The questions that were asked. */
  readonly experiments: readonly { readonly name: string; readonly question: string }[];
  /** The kernels that were asked, missing ones included. */
  readonly kernels: readonly LabKernel[];
  /** The answers: one for each kernel and question, fewer when the lab was ended early. */
  readonly findings: readonly Finding[];
}

interface LabParts extends Pick<LabResult, "startedAt" | "run" | "trials" | "experiments" | "kernels"> {
  readonly isComplete: boolean;
  readonly command: string | undefined;
  readonly findings: Iterable<Finding>;
}

/** The result of a lab so far, of machines here or of a fleet. */
export function makeLabResult(parts: LabParts): LabResult {
  const { version, commit } = environment();
  const { startedAt, isComplete, command = "", run, trials, experiments, kernels, findings } = parts;
  return {
    schema: LAB_SCHEMA,
    startedAt,
    endedAt: isComplete ? new Date().toISOString() : null,
    command,
    version,
    commit,
    ...(run !== undefined && { run }),
    trials,
    experiments: experiments.map(({ name, question }) => ({ name, question })),
    kernels,
    findings: [...findings],
  };
}

/** The options of runLab(): machines, experiments, limits, and callbacks. */
export interface LabOptions {
  /** The kernels to ask, from makeMachines(). */
  readonly machines: readonly Machine[];
  /** Names of experiments; default: all. */
  readonly experiments?: readonly string[];
  /** How many times a random thing is repeated; default 12. */
  readonly trials?: number;
  /**
   * How many machines run side by side; default: one for each core, and 16 other hosts beside them. Rates are right
   * only with 1.
   */
  readonly jobs?: number;
  /** An earlier result to continue: its findings are kept, and only the missing ones are run. */
  readonly resume?: LabResult | null;
  /** Called with the results so far after every cell. */
  readonly save?: (result: LabResult) => void;
  /** Called when a machine begins an experiment. */
  readonly begin?: (kernel: string, experiment: string, answered: number, asked: number) => void;
  /** The command line, for the result. */
  readonly command?: string;
  /** When a guest is ended: silence, total time, bytes of output. */
  readonly limits?: Limits;
  /** Ends the lab and its guests when it aborts; the result has what was answered. */
  readonly signal?: AbortSignal;
}

const OPTION_KEYS = [
  ...["machines", "experiments", "trials", "jobs", "resume", "save", "begin", "command", "limits", "signal"],
];
const TRIALS = 12;
/** Other hosts that are asked at the same time: they need none of this host's cores. */
const OTHER_HOSTS = 16;
/** An experiment is given up after this many guests have died in it. */
const MOST_DEATHS = 2;

/**
 * Returns the experiments with these names, or all. Throws ERR_UNKNOWN_EXPERIMENT with a suggestion.
 *
 * @example
 * import { findExperiments } from "selfconnect/lab";
 *
 * const [parity] = await findExperiments(["parity"]);
 * console.log(parity.name); // parity
 */
export async function findExperiments(names?: readonly string[]): Promise<readonly Experiment[]> {
  // Loaded only here, so that a program that only opens a socket does not load two dozen files.
  const { EXPERIMENTS } = await import("./experiments.ts");
  if (names === undefined) return EXPERIMENTS;
  checkArray("findExperiments() takes names of experiments", names);
  return names.map((name) => {
    const found = EXPERIMENTS.find((experiment) => experiment.name === name);
    if (found) return found;
    const known = EXPERIMENTS.map((experiment) => experiment.name);
    const meant = nearest(textOf(name), known);
    const fix = meant ? `did you mean "${meant}"?` : `use ${known.join(", ")}`;
    throw invalidArgument("ERR_UNKNOWN_EXPERIMENT", `"${textOf(name)}" is not an experiment: ${fix}`);
  });
}

/** Runs the experiments, several machines side by side. When the signal aborts, resolves with the findings so far. */
export async function runLab(options: LabOptions): Promise<LabResult> {
  checkKeys("runLab()", options, OPTION_KEYS);
  checkArray("runLab() takes machines of makeMachines()", options.machines, ["launch"]);
  const lab = new Lab(options, await findExperiments(options.experiments));
  const ends = await Promise.allSettled(
    queuesOf(options).flatMap(({ waiting, jobs }) => {
      const runNext = async () => {
        for (let machine = waiting.shift(); machine; machine = waiting.shift()) await lab.run(machine);
      };
      return Array.from({ length: Math.min(jobs, waiting.length) }, runNext);
    }),
  );
  const failed = ends.find((end) => end.status === "rejected");
  if (failed && !options.signal?.aborted) throw failed.reason;
  return lab.result(!options.signal?.aborted);
}

/** Machines that wait for one another. A number of jobs that was asked for is that of all. */
function queuesOf({ machines, jobs }: LabOptions): { waiting: Machine[]; jobs: number }[] {
  if (jobs !== undefined) return [{ waiting: [...machines], jobs }];
  const isOther = ({ name }: Machine) => name === "ssh";
  return [
    { waiting: machines.filter((machine) => !isOther(machine)), jobs: os.availableParallelism() },
    { waiting: machines.filter(isOther), jobs: OTHER_HOSTS },
  ];
}

/** The experiment that was next when a guest ended, and how many guests in a row ended in it. */
interface Suspect {
  readonly experiment: string;
  readonly deaths: number;
}

function nextSuspect(suspect: Suspect | null, experiment: string): Suspect {
  return { experiment, deaths: suspect?.experiment === experiment ? suspect.deaths + 1 : 1 };
}

class Lab {
  readonly #options: LabOptions;
  readonly #experiments: readonly Experiment[];
  readonly #trials: number;
  readonly #startedAt: string;
  readonly #kernels = new Map<string, LabKernel>();
  readonly #findings = new Map<string, Finding>();

  constructor(options: LabOptions, experiments: readonly Experiment[]) {
    this.#options = options;
    this.#experiments = experiments;
    const { resume } = options;
    this.#trials = options.trials ?? resume?.trials ?? TRIALS;
    this.#startedAt = resume?.startedAt ?? new Date().toISOString();
    const known = resume?.kernels.filter(({ environment }) => environment !== null) ?? [];
    for (const kernel of known) this.#kernels.set(kernel.id, kernel);
    // A broken connection says nothing about the host: its cells are asked again.
    const others = known.filter(({ machine }) => machine === "ssh").map(({ id }) => id);
    const isBroken = ({ status, kernel }: Finding) => status === "died" && others.includes(kernel);
    for (const finding of resume?.findings ?? []) if (!isBroken(finding)) this.#keep(finding);
  }

  /** Runs the open experiments on this machine. Boots it again only after a guest has died. Rejects when aborted. */
  async run(machine: Machine): Promise<void> {
    const id = machine.title;
    const { signal } = this.#options;
    signal?.throwIfAborted();
    const missing = await machine.missing(signal);
    const isEmulated = missing === null && (await machine.isEmulated(signal));
    const environment = this.#kernels.get(id)?.environment ?? null;
    const { name, sysctls } = machine;
    const kernel = { id, machine: name, ...(sysctls && { sysctls }), isEmulated, missing, environment };
    this.#kernels.set(id, kernel);
    this.#options.save?.(this.result(false));
    if (missing === null) await this.#runOpen(machine);
  }

  async #runOpen(machine: Machine): Promise<void> {
    const id = machine.title;
    let suspect: Suspect | null = null;
    while (this.#hasNext(id)) {
      const ending = await this.#boot(machine, this.#open(id));
      if (!this.#hasNext(id) || this.#kernels.get(id)!.missing !== null) return;
      suspect = nextSuspect(suspect, this.#open(id)[0]!);
      if (suspect.deaths < MOST_DEATHS) continue;
      this.#recordDeath(id, suspect.experiment, ending);
      // A machine that never sent its first message would die in all the others too.
      if (!this.#kernels.get(id)!.environment)
        for (const name of this.#open(id)) this.#recordDeath(id, name, ending);
    }
  }

  #hasNext(id: string): boolean {
    return this.#open(id).length > 0 && !this.#options.signal?.aborted;
  }

  result(isComplete: boolean): LabResult {
    return makeLabResult({
      startedAt: this.#startedAt,
      isComplete,
      command: this.#options.command,
      trials: this.#trials,
      experiments: this.#experiments,
      kernels: this.#columns(),
      findings: this.#findings.values(),
    });
  }

  /** In the order of the machines; kernels only in the resumed result come last. */
  #columns(): LabKernel[] {
    const titles = this.#options.machines.map(({ title }) => title);
    const place = ({ id }: LabKernel) => (titles.includes(id) ? titles.indexOf(id) : titles.length);
    return [...this.#kernels.values()].sort((one, other) => place(one) - place(other));
  }

  async #boot(machine: Machine, experiments: readonly string[]): Promise<Ending> {
    const id = machine.title;
    const { limits = LIMITS, signal } = this.#options;
    const nonce = randomBytes(8).toString("hex");
    const { name, sysctls } = machine;
    const task = { nonce, machine: name, experiments, trials: this.#trials, ...(sysctls && { sysctls }) };
    const receive = (message: Message) => this.#receive(machine, experiments, message);
    try {
      return await runGuest(machine, task, receive, { limits, ...(signal && { signal }) });
    } catch (error) {
      if (signal?.aborted) return "interrupted";
      if (error instanceof CannotRun) this.#recordMissing(id, error.message);
      return `${id}: ${(error as Error).message}`;
    }
  }

  /** Handles a guest's message. Throws if the guest must not send it: the guest is then killed. */
  #receive(machine: Machine, asked: readonly string[], message: Message): void {
    const id = machine.title;
    if (message.kind === "hello") {
      const { environment } = message;
      if (machine.release !== undefined && environment.kernel !== machine.release) {
        throw new Error(`it reports kernel ${environment.kernel}, which is not the one booted`);
      }
      this.#kernels.set(id, { ...this.#kernels.get(id)!, environment });
    }
    if (message.kind === "begin") {
      const answered = this.#experiments.length - this.#open(id).length;
      this.#options.begin?.(id, message.experiment, answered, this.#experiments.length);
    }
    if (message.kind !== "finding") return;
    const { finding } = message;
    if (!asked.includes(finding.experiment)) throw new Error("it sent a finding that was not requested");
    if (!this.#kernels.get(id)!.environment) throw new Error("it sent a finding before its environment");
    this.#keep({ kernel: id, ...finding, ...this.#judge(machine, finding) });
    this.#options.save?.(this.result(false));
  }

  #judge(machine: Machine, finding: GuestFinding): Pick<Finding, "expected" | "isAsExpected"> {
    const { upstream, hasIpv6 = true } = this.#kernels.get(machine.title)!.environment!;
    const experiment = this.#experiments.find(({ name }) => name === finding.experiment)!;
    const expected = experiment.expected({ machine: machine.name, upstream, hasIpv6 });
    const isKnown = expected !== null && finding.status === "answered";
    return { expected, isAsExpected: isKnown ? finding.answer === expected : null };
  }

  #open(id: string): string[] {
    return this.#experiments.map(({ name }) => name).filter((name) => !this.#findings.has(cellOf(id, name)));
  }

  #keep(finding: Finding): void {
    this.#findings.set(cellOf(finding.kernel, finding.experiment), finding);
  }

  #recordMissing(id: string, reason: string): void {
    this.#kernels.set(id, { ...this.#kernels.get(id)!, missing: reason });
    this.#options.save?.(this.result(false));
  }

  #recordDeath(kernel: string, experiment: string, ending: Ending): void {
    const note = ending ?? "it ended without an answer";
    const cell = { kernel, experiment, status: "died" as const, note, counts: {}, elapsedMs: 0 };
    this.#keep({ ...cell, expected: null, isAsExpected: null });
    this.#options.save?.(this.result(false));
  }
}

function cellOf(kernel: string, experiment: string): string {
  return `${kernel}\n${experiment}`;
}
