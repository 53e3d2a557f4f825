/** The lab: experiments times machines, cell by cell; the results so far are saved after every one. */
import { randomBytes } from "node:crypto";
import { environment } from "../kernel/host.ts";
import { invalidArgument, nearest } from "../socket/misuse.ts";
import type { Experiment, MachineName } from "./experiment.ts";
import type { Ending, Limits, Machine } from "./machine.ts";
import { LIMITS, runGuest } from "./machine.ts";
import type { GuestEnvironment, GuestFinding, Message } from "./transcript.ts";

export const LAB_SCHEMA = "selfconnect.lab/1";

/** One kernel's answer to one question, and what was expected. */
export interface Finding extends Omit<GuestFinding, "status"> {
  readonly kernel: string;
  /** "died" when the machine did not live to answer, twice; "not-here" when it does not allow the question. */
  readonly status: GuestFinding["status"] | "died";
  /** Null: not known. */
  readonly expected: string | null;
  /** Null: nothing was expected, or nothing was answered. */
  readonly isAsExpected: boolean | null;
}

/** One column. */
export interface LabKernel {
  readonly id: string;
  readonly machine: MachineName;
  readonly isEmulated: boolean;
  /** Why it could not run; null when it could. */
  readonly missing: string | null;
  /** Null until it has said hello. */
  readonly environment: GuestEnvironment | null;
}

/** The object of docs/schema/lab-1.json: every question, every kernel, and the answers so far. */
export interface LabResult {
  readonly schema: typeof LAB_SCHEMA;
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly command: string;
  readonly version: string;
  readonly commit: string | null;
  readonly trials: number;
  readonly experiments: readonly { readonly name: string; readonly question: string }[];
  readonly kernels: readonly LabKernel[];
  readonly findings: readonly Finding[];
}

/** What a lab asks, of which machines, and who is called on the way. */
export interface LabOptions {
  readonly machines: readonly Machine[];
  /** Names; all unless said otherwise. */
  readonly experiments?: readonly string[];
  /** How many times a random thing is repeated; 12 unless said otherwise. */
  readonly trials?: number;
  /** An earlier result to go on from: what it answered is not asked again. */
  readonly resume?: LabResult | null;
  /** Called with the results so far after every cell. */
  readonly save?: (result: LabResult) => void;
  /** Called when a machine begins an experiment. */
  readonly begin?: (kernel: string, experiment: string, answered: number, asked: number) => void;
  readonly command?: string;
  readonly limits?: Limits;
  readonly signal?: AbortSignal;
}

const TRIALS = 12;
/** A question at which so many guests died is closed. */
const MOST_DEATHS = 2;

/** Throws ERR_UNKNOWN_EXPERIMENT and names the near miss. */
export async function findExperiments(names?: readonly string[]): Promise<readonly Experiment[]> {
  // Loaded when asked for: whoever only wants a socket does not read two dozen files for it.
  const { EXPERIMENTS } = await import("./experiments.ts");
  if (!names) return EXPERIMENTS;
  return names.map((name) => {
    const found = EXPERIMENTS.find((experiment) => experiment.name === name);
    if (found) return found;
    const known = EXPERIMENTS.map((experiment) => experiment.name);
    const meant = nearest(name, known);
    const mend = meant ? `did you mean "${meant}"?` : `there is ${known.join(", ")}`;
    throw invalidArgument("ERR_UNKNOWN_EXPERIMENT", `"${name}" is not an experiment: ${mend}`);
  });
}

/** Asks every machine, one after another. An abort ends it with what there is. */
export async function runLab(options: LabOptions): Promise<LabResult> {
  const lab = new Lab(options, await findExperiments(options.experiments));
  try {
    for (const machine of options.machines) await lab.ask(machine);
  } catch (error) {
    if (!options.signal?.aborted) throw error;
  }
  return lab.result(!options.signal?.aborted);
}

/** The question that was next when a guest ended, and how many guests in a row ended at it. */
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
    for (const finding of resume?.findings ?? []) this.#keep(finding);
  }

  /** Asks what this machine has not answered yet, in as few boots as its health allows. Rejects when aborted. */
  async ask(machine: Machine): Promise<void> {
    const id = machine.title;
    const { signal } = this.#options;
    signal?.throwIfAborted();
    const missing = await machine.missing(signal);
    const isEmulated = missing === null && (await machine.isEmulated(signal));
    const environment = this.#kernels.get(id)?.environment ?? null;
    this.#kernels.set(id, { id, machine: machine.name, isEmulated, missing, environment });
    this.#options.save?.(this.result(false));
    if (missing === null) await this.#askAll(machine);
  }

  async #askAll(machine: Machine): Promise<void> {
    const id = machine.title;
    let suspect: Suspect | null = null;
    while (this.#hasNext(id)) {
      const ending = await this.#boot(machine, this.#open(id));
      if (!this.#hasNext(id)) return;
      suspect = nextSuspect(suspect, this.#open(id)[0]!);
      if (suspect.deaths < MOST_DEATHS) continue;
      this.#close(id, suspect.experiment, ending);
      // A machine that never got to its first message would die at all the others too.
      if (!this.#kernels.get(id)!.environment)
        for (const name of this.#open(id)) this.#close(id, name, ending);
    }
  }

  #hasNext(id: string): boolean {
    return this.#open(id).length > 0 && !this.#options.signal?.aborted;
  }

  result(isComplete: boolean): LabResult {
    const { version, commit } = environment();
    return {
      schema: LAB_SCHEMA,
      startedAt: this.#startedAt,
      endedAt: isComplete ? new Date().toISOString() : null,
      command: this.#options.command ?? "",
      version,
      commit,
      trials: this.#trials,
      experiments: this.#experiments.map(({ name, question }) => ({ name, question })),
      kernels: this.#columns(),
      findings: [...this.#findings.values()],
    };
  }

  /** As they were asked for; what only an earlier run asked comes last. */
  #columns(): LabKernel[] {
    const titles = this.#options.machines.map(({ title }) => title);
    const place = ({ id }: LabKernel) => (titles.includes(id) ? titles.indexOf(id) : titles.length);
    return [...this.#kernels.values()].sort((one, other) => place(one) - place(other));
  }

  async #boot(machine: Machine, experiments: readonly string[]): Promise<Ending> {
    const id = machine.title;
    const { limits = LIMITS, signal } = this.#options;
    const nonce = randomBytes(8).toString("hex");
    const task = { nonce, machine: machine.name, experiments, trials: this.#trials };
    const receive = (message: Message) => this.#receive(machine, experiments, message);
    try {
      return await runGuest(machine, task, receive, { limits, ...(signal && { signal }) });
    } catch (error) {
      if (signal?.aborted) return "interrupted";
      return `${id}: ${(error as Error).message}`;
    }
  }

  /** What a guest says about itself and its cells. Throws what it must not say: the guest is then killed. */
  #receive(machine: Machine, asked: readonly string[], message: Message): void {
    const id = machine.title;
    if (message.kind === "hello") {
      const { environment } = message;
      if (machine.release !== undefined && environment.kernel !== machine.release) {
        throw new Error(`it says that it is ${environment.kernel}, which is not what was booted`);
      }
      this.#kernels.set(id, { ...this.#kernels.get(id)!, environment });
    }
    if (message.kind === "begin") {
      const answered = this.#experiments.length - this.#open(id).length;
      this.#options.begin?.(id, message.experiment, answered, this.#experiments.length);
    }
    if (message.kind !== "finding") return;
    const { finding } = message;
    if (!asked.includes(finding.experiment)) throw new Error("it answers what was not asked");
    if (!this.#kernels.get(id)!.environment) throw new Error("it answers before it has said what it is");
    this.#keep({ kernel: id, ...finding, ...this.#judge(machine, finding) });
    this.#options.save?.(this.result(false));
  }

  #judge(machine: Machine, finding: GuestFinding): Pick<Finding, "expected" | "isAsExpected"> {
    const { upstream } = this.#kernels.get(machine.title)!.environment!;
    const experiment = this.#experiments.find(({ name }) => name === finding.experiment)!;
    const expected = experiment.expected({ machine: machine.name, upstream });
    const isKnown = expected !== null && finding.status === "answered";
    return { expected, isAsExpected: isKnown ? finding.answer === expected : null };
  }

  #open(id: string): string[] {
    return this.#experiments.map(({ name }) => name).filter((name) => !this.#findings.has(cellOf(id, name)));
  }

  #keep(finding: Finding): void {
    this.#findings.set(cellOf(finding.kernel, finding.experiment), finding);
  }

  #close(kernel: string, experiment: string, ending: Ending): void {
    const note = ending ?? "it ended without an answer";
    const cell = { kernel, experiment, status: "died" as const, note, counts: {}, elapsedMs: 0 };
    this.#keep({ ...cell, expected: null, isAsExpected: null });
    this.#options.save?.(this.result(false));
  }
}

function cellOf(kernel: string, experiment: string): string {
  return `${kernel}\n${experiment}`;
}
