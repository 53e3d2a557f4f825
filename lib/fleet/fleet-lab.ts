/** The lab of a fleet: the same questions to every host that has a worker. */
import { randomBytes } from "node:crypto";
import { packageVersion } from "../kernel/version.ts";
import type { Experiment } from "../lab/experiment.ts";
import type { Finding, LabKernel, LabResult } from "../lab/lab.ts";
import { findExperiments, makeLabResult } from "../lab/lab.ts";
import type { GuestEnvironment } from "../lab/transcript.ts";
import { checkArray, checkKeys, checkSignal, invalidArgument } from "../socket/misuse.ts";
import { openConnection } from "./connection.ts";
import type { FleetHost } from "./hosts.ts";
import { listHosts, SILENT_MS } from "./hosts.ts";
import type { Cell, Unanswered } from "./inquiry.ts";
import { ask } from "./inquiry.ts";
import type { FleetFinding, Order, Reply } from "./order.ts";
import { isRun } from "./order.ts";

/** Options of every inquiry to a fleet. */
export interface FleetOptions {
  /** Where the queue is, as for runWorker(). */
  readonly queue: string;
  /** Patterns of hosts, "web-*", "db?"; default: all that have announced themselves in the last week. */
  readonly hosts?: readonly string[];
  /** How long to wait for answers; default 15 minutes for a lab, one minute for an audit. */
  readonly deadlineMs?: number;
  /** Called when the connection to Redis breaks. */
  readonly onTrouble?: (message: string) => void;
  /** Ends it early; the result has what was answered. */
  readonly signal?: AbortSignal;
}

/** The options of runFleetLab(). */
export interface FleetLabOptions extends FleetOptions {
  /** Names of experiments; default: all that are quick. */
  readonly experiments?: readonly string[];
  /** How many times a random thing is repeated, 1 to 1,000; default 12. */
  readonly trials?: number;
  /** An earlier result of a fleet to continue: its answers are kept, and only the missing ones are asked. */
  readonly resume?: LabResult | null;
  /** Called with the results so far, as often as takes at most a tenth of the time. */
  readonly save?: (result: LabResult) => void;
  /** The command line, for the result. */
  readonly command?: string;
}

/** The keys of FleetOptions. */
export const FLEET_KEYS = ["queue", "hosts", "deadlineMs", "onTrouble", "signal"];
const LAB_KEYS = ["experiments", "trials", "resume", "save", "command"];
const TRIALS = 12;
const MOST_TRIALS = 1_000;
const DEADLINE_MS = 900_000;

/** A new run's id. */
export function newRun(): string {
  return randomBytes(8).toString("hex");
}

/** Why a host cannot be asked; null when it can. */
export function whyNotAsked({ announcement, silentMs }: FleetHost, version: string): string | null {
  if (announcement.version !== version)
    return `its worker is selfconnect ${announcement.version}, this one is ${version}: install the same version`;
  return silentMs < SILENT_MS ? null : `no sign of its worker for ${Math.round(silentMs / 1000)} s`;
}

/**
 * Redis, through BullMQ: asks every host that has a worker. A host that cannot be asked is a column whose `missing`
 * says why. When the signal aborts, resolves with the findings so far. Rejects when Redis is out of reach, and when no
 * host matches.
 */
export async function runFleetLab(options: FleetLabOptions): Promise<LabResult> {
  checkKeys("runFleetLab()", options, [...FLEET_KEYS, ...LAB_KEYS]);
  checkSignal(options.signal);
  if (options.experiments !== undefined) checkArray("experiments are names", options.experiments);
  const trials = options.trials ?? options.resume?.trials ?? TRIALS;
  if (!Number.isInteger(trials) || trials < 1 || trials > MOST_TRIALS)
    throw invalidArgument(
      "ERR_OPTION_VALUE",
      `trials ${trials} is not a count: use 1 to ${MOST_TRIALS}`,
      RangeError,
    );
  const quick = (await findExperiments()).filter(({ isSlow }) => !isSlow);
  const experiments = options.experiments ? await findExperiments(options.experiments) : quick;
  await using connection = await openConnection(options.queue, options.onTrouble);
  const hosts = await listHosts(connection.redis, options.hosts);
  if (hosts.length === 0) throw new Error(noHosts(options.hosts));
  const lab = new FleetLab({ ...options, trials }, experiments, hosts);
  options.save?.(lab.result(false));
  const open = await ask(connection, lab.cells(), {
    run: lab.run,
    take: (host, order, reply) => lab.take(host, order, reply),
    save: () => options.save?.(lab.result(false)),
    deadlineMs: options.deadlineMs ?? DEADLINE_MS,
    ...(options.signal && { signal: options.signal }),
  });
  const isInterrupted = options.signal?.aborted === true;
  if (!isInterrupted) lab.recordUnanswered(open);
  return lab.result(!isInterrupted);
}

/** What to say where no host is there to be asked. */
export function noHosts(patterns: readonly string[] | undefined): string {
  if (patterns && patterns.length > 0) return `no host of the queue matches ${patterns.join(", ")}`;
  return "no host of the queue has a worker: start `selfconnect worker --queue …` on each";
}

class FleetLab {
  readonly run: string;
  readonly #options: FleetLabOptions & { readonly trials: number };
  readonly #experiments: readonly Experiment[];
  readonly #startedAt: string;
  readonly #kernels = new Map<string, LabKernel>();
  readonly #findings = new Map<string, Finding>();

  constructor(
    options: FleetLabOptions & { readonly trials: number },
    experiments: readonly Experiment[],
    hosts: readonly FleetHost[],
  ) {
    const { resume } = options;
    this.#options = options;
    this.#experiments = experiments;
    this.run = isRun(resume?.run) ? resume.run : newRun();
    this.#startedAt = resume?.startedAt ?? new Date().toISOString();
    const version = packageVersion();
    for (const kernel of resume?.kernels ?? []) this.#kernels.set(kernel.id, kernel);
    for (const host of hosts) this.#kernels.set(host.name, this.#columnOf(host, version));
    for (const finding of resume?.findings ?? []) if (!isOpen(finding)) this.#keep(finding);
  }

  #columnOf(host: FleetHost, version: string): LabKernel {
    const known = this.#kernels.get(host.name)?.environment ?? null;
    const missing = whyNotAsked(host, version);
    return { id: host.name, machine: "worker", isEmulated: false, missing, environment: known };
  }

  /** The questions that have no answer yet, of the hosts that can be asked. */
  cells(): Cell[] {
    const version = packageVersion();
    const { trials } = this.#options;
    return [...this.#kernels.values()].flatMap(({ id: host, missing, machine }) => {
      if (missing !== null || machine !== "worker") return [];
      const open = this.#experiments.filter(({ name }) => !this.#findings.has(keyOf(host, name)));
      return open.map(({ name }) => {
        return { host, order: { version, run: this.run, kind: "experiment", experiment: name, trials } };
      });
    });
  }

  take(host: string, order: Order, reply: Reply): void {
    if (order.kind === "experiment") this.#keep(this.#findingOf(host, order.experiment, reply));
  }

  #findingOf(host: string, experiment: string, reply: Reply): Finding {
    if (reply.kind !== "finding") {
      const note = reply.kind === "refused" ? reply.why : "it answered another question";
      return emptyFinding(host, experiment, note);
    }
    const kernel = this.#kernels.get(host)!;
    const { environment: found, finding } = reply;
    const before = kernel.environment?.kernel ?? found.kernel;
    if (found.kernel !== before) {
      const note = `its kernel was ${before}, and is ${found.kernel} now: start another lab`;
      return emptyFinding(host, experiment, note);
    }
    this.#kernels.set(host, { ...kernel, environment: found });
    return { kernel: host, ...finding, ...this.#judge(experiment, found, finding) };
  }

  #judge(
    experiment: string,
    { upstream, hasIpv6 = true }: GuestEnvironment,
    { status, answer }: FleetFinding,
  ): Pick<Finding, "expected" | "isAsExpected"> {
    const asked = this.#experiments.find(({ name }) => name === experiment)!;
    const expected = asked.expected({ machine: "host", upstream, hasIpv6 });
    const isKnown = expected !== null && status === "answered";
    return { expected, isAsExpected: isKnown ? answer === expected : null };
  }

  recordUnanswered(open: readonly Unanswered[]): void {
    for (const { host, order, why } of open)
      if (order.kind === "experiment") this.#keep(emptyFinding(host, order.experiment, why));
  }

  result(isComplete: boolean): LabResult {
    return makeLabResult({
      startedAt: this.#startedAt,
      isComplete,
      command: this.#options.command,
      run: this.run,
      trials: this.#options.trials,
      experiments: this.#experiments,
      kernels: [...this.#kernels.values()],
      findings: this.#findings.values(),
    });
  }

  #keep(finding: Finding): void {
    this.#findings.set(keyOf(finding.kernel, finding.experiment), finding);
  }
}

/** A cell that nobody answered before the deadline is asked again when the lab is resumed. */
function isOpen({ status }: Finding): boolean {
  return status === "died";
}

function emptyFinding(kernel: string, experiment: string, note: string): Finding {
  const status = "died" as const;
  return { kernel, experiment, status, note, counts: {}, elapsedMs: 0, expected: null, isAsExpected: null };
}

function keyOf(host: string, experiment: string): string {
  return `${host}\n${experiment}`;
}
