/**
 * The benchmark's process, which `selfconnect bench` starts: measures, and sends progress and finally the report to
 * its parent, which renders it.
 */
import { readFileSync } from "node:fs";
import { findFreePort } from "../lib/index.ts";
import { environment, portFacts } from "../lib/kernel/index.ts";
import type { BenchDriver, BenchReport, BenchRow, BenchScan, BenchTrial } from "../lib/report/index.ts";
import { planAskedCells, planAskedRatios } from "./asked.ts";
import type { AuditMeasurement } from "./audit.ts";
import { auditRows, countAudited, planAudit } from "./audit.ts";
import type { Measurement } from "./cell.ts";
import { checkMeasurement, runCell } from "./cell.ts";
import { DIALERS, dialerRows } from "./dialers.ts";
import { Workshop } from "./drivers.ts";
import type { Door, GuardMeasurement, GuardPlace } from "./guard.ts";
import { BUSY_PLACES, DOORS, GUARD_PLACES, GUARD_PROCESSES, guardCell, guardRows, MOMENTS } from "./guard.ts";
import { Ledger } from "./ledger.ts";
import { ListenerProcess } from "./listener.ts";
import type { Results } from "./rows.ts";
import { computeBenchRows, NOT_MEASURED } from "./rows.ts";
import type { CellPlan } from "./trials.ts";
import {
  AFTER,
  describeAttempts,
  FEW_SOCKETS,
  MANY_SOCKETS,
  mostSockets,
  namespaceCommand,
  planInProgress,
  planMemory,
  ROUND,
} from "./trials.ts";

/** The options from the command line: one argument of JSON. */
interface Options {
  readonly rounds: number;
  readonly cellMs: number;
  readonly only: readonly BenchTrial[];
  readonly isLong: boolean;
  readonly drivers: readonly BenchDriver[];
  readonly scan: BenchScan;
}

/** A loop that is not joined to itself within this time never will be. */
const UNTIL_JOINED_MS = 20_000;
const LONGEST_MS = 900_000;
const IN_PROGRESS_PAIRS = 3;
/** Open files of a driver besides the sockets that it counts. */
const SPARE_FILES = 100;
/** A cell that fails runs again on another port, because another program may have taken the port that was free. */
const TRIES = 2;

class Bench {
  readonly #options: Options;
  readonly #signal: AbortSignal;
  readonly #workshop: Workshop;
  readonly #ledger = new Ledger();
  readonly #startedAt = new Date();
  readonly #begunAtMs = performance.now();
  #costCommand: readonly string[] = [];
  #livePort = 0;
  #growthBytes: number | null = null;
  #sockets = FEW_SOCKETS;

  constructor(options: Options, signal: AbortSignal, workshop: Workshop) {
    this.#options = options;
    this.#signal = signal;
    this.#workshop = workshop;
  }

  async run(): Promise<BenchReport> {
    this.#costCommand = this.#prepareCost();
    this.#sockets = await this.#countSockets();
    send({ rows: this.#listRows() });
    using _listener = await this.#listen();
    const { drivers, scan } = this.#options;
    const plans = [...ROUND, ...planAskedCells(drivers, scan)].filter((plan) => this.#isSelected(plan));
    for (const plan of plans) await this.#start(plan);
    for (let round = 1; round <= this.#options.rounds; round++) {
      // Every second round runs in reverse order, so that a drift within rounds cancels out.
      const order = round % 2 === 1 ? plans : plans.toReversed();
      for (const plan of order) await this.#measure(plan, `round ${round}/${this.#options.rounds}`);
    }
    await this.#measureMemory();
    await this.#measureInProgress();
    for (const plan of AFTER) if (this.#isSelected(plan)) await this.#measureAfter(plan);
    await this.#compareGuards();
    await this.#compareDialers();
    await this.#compareAudit();
    return this.#report();
  }

  #isSelected(plan: CellPlan): boolean {
    const { only } = this.#options;
    return only.length === 0 || only.includes(plan.trial);
  }

  /** The command line of cost.c; empty without a C compiler, and then only rates are measured. */
  #prepareCost(): readonly string[] {
    try {
      return [...this.#workshop.command("cost.c"), "0"];
    } catch {
      return [];
    }
  }

  async #listen(): Promise<ListenerProcess | null> {
    try {
      const command = this.#workshop.command("listener.c");
      this.#livePort = findPeerPort("outside");
      return await ListenerProcess.start(command, this.#livePort);
    } catch {
      return null; // The drivers of this trial then report why they cannot run.
    }
  }

  /** Runs a driver for 0 ms, to learn whether it runs and what its start costs. */
  async #start(plan: CellPlan): Promise<void> {
    const measurement = await this.#run(plan, 0, "starting", TRIES);
    if (measurement) this.#ledger.addStart(plan, measurement);
  }

  async #measure(plan: CellPlan, where: string): Promise<void> {
    const isUntilJoined = plan.trial === "time";
    const milliseconds = isUntilJoined ? UNTIL_JOINED_MS : this.#options.cellMs;
    const measurement = await this.#run(plan, milliseconds, where, TRIES);
    if (!measurement) return;
    if (measurement.count > 0) this.#ledger.add(plan, measurement);
    else this.#ledger.miss(plan, `not joined within ${UNTIL_JOINED_MS} ms`);
  }

  /** Runs one process. If every try fails, drops the cell with the reason and returns null. */
  async #run(plan: CellPlan, milliseconds: number, where: string, tries = 1): Promise<Measurement | null> {
    if (this.#signal.aborted || this.#ledger.isMissing(plan)) return null;
    send({ progress: `${where} · ${plan.name}` });
    try {
      const driver = plan.command ?? this.#workshop.command(plan.driver);
      const own = [...driver, String(this.#port(plan)), String(milliseconds), ...plan.settings];
      const command = plan.namespace ? namespaceCommand(plan.namespace, own) : own;
      const cost = plan.files ? [...this.#costCommand.slice(0, 1), String(plan.files)] : this.#costCommand;
      const measurement = await runCell(
        command,
        this.#costCommand.length > 0 ? cost : [],
        milliseconds,
        this.#signal,
      );
      checkMeasurement(measurement);
      // On a busy machine a short cell is over before its thread has begun.
      if (milliseconds > 0 && measurement.count === 0 && plan.trial !== "time")
        throw new Error("no attempt made");
      return measurement;
    } catch (error) {
      if (this.#signal.aborted) return null;
      if (tries > 1) return this.#run(plan, milliseconds, where, tries - 1);
      this.#ledger.miss(plan, (error as Error).message);
      return null;
    }
  }

  #port(plan: CellPlan): number {
    if (plan.namespace) return plan.namespace.low;
    if (plan.peer === "live") return this.#livePort;
    return findPeerPort(plan.peer === "dead" ? "outside" : "ephemeral");
  }

  async #measureMemory(): Promise<void> {
    const plan = planMemory(this.#options.isLong);
    if (!this.#isSelected(plan)) return;
    const measurement = await this.#run(plan, LONGEST_MS, "after the rounds");
    if (!measurement) return;
    this.#ledger.add(plan, measurement);
    this.#growthBytes = measurement.growthBytes ?? null;
  }

  async #measureInProgress(): Promise<void> {
    const plans = [planInProgress(FEW_SOCKETS), planInProgress(this.#sockets)];
    if (!this.#isSelected(plans[0]!)) return;
    for (let pair = 1; pair <= IN_PROGRESS_PAIRS; pair++) {
      for (const plan of plans) {
        const measurement = await this.#run(
          plan,
          LONGEST_MS,
          `after the rounds, ${pair}/${IN_PROGRESS_PAIRS}`,
        );
        if (measurement) this.#ledger.add(plan, measurement);
      }
    }
  }

  /** Each process runs its share of the rounds with all doors in turn; places alternate. */
  async #compareGuards(): Promise<void> {
    if (!this.#isSelected(guardCell(GUARD_PLACES[0]!, "node:net", "connect"))) return;
    const places = this.#options.isLong ? [...GUARD_PLACES, ...BUSY_PLACES] : GUARD_PLACES;
    for (let part = 0; part < GUARD_PROCESSES; part++) {
      const rounds = Math.floor((this.#options.rounds + part) / GUARD_PROCESSES);
      if (rounds > 0) for (const place of places) await this.#compareGuard(place, rounds);
    }
  }

  async #compareGuard(place: GuardPlace, rounds: number): Promise<void> {
    if (this.#signal.aborted || this.#ledger.isMissing(guardCell(place, "node:net", "connect"))) return;
    send({ progress: `after the rounds · guard, ${place.where}` });
    try {
      const port = findPeerPort(place.isInside ? "ephemeral" : "outside");
      using _listener = await ListenerProcess.start(this.#workshop.command("listener.c"), port);
      const { cellMs } = this.#options;
      const { guard, heldPorts } = place;
      const settings = [port, cellMs, rounds, guard, heldPorts].map(String);
      const command = [...this.#workshop.command("guard.ts"), ...settings];
      const allowed =
        heldPorts > 0 ? [...this.#costCommand.slice(0, 1), String(heldPorts + SPARE_FILES)] : [];
      this.#addGuard(place, await runCell<GuardMeasurement>(command, allowed, rounds * cellMs, this.#signal));
    } catch (error) {
      if (this.#signal.aborted) return;
      for (const door of DOORS) this.#missGuard(place, door, (error as Error).message);
    }
  }

  #addGuard(place: GuardPlace, { rounds, missing }: GuardMeasurement): void {
    for (const door of DOORS) {
      if (missing[door]) this.#missGuard(place, door, missing[door]);
      for (const { connectNs, closeNs } of rounds[door] ?? []) {
        const round = (elapsedNs: number) => ({ count: 1, elapsedNs, cost: null });
        this.#ledger.add(guardCell(place, door, "connect"), round(connectNs));
        this.#ledger.add(guardCell(place, door, "close"), round(closeNs));
      }
    }
  }

  #missGuard(place: GuardPlace, door: Door, because: string): void {
    for (const moment of MOMENTS) this.#ledger.miss(guardCell(place, door, moment), because);
  }

  async #compareDialers(): Promise<void> {
    for (const plan of DIALERS.filter((one) => this.#isSelected(one))) await this.#measureAfter(plan);
  }

  /** One process opens the sockets, and measures both programs in turn. */
  async #compareAudit(): Promise<void> {
    const sockets = countAudited(limitOfFiles());
    const { audit, ss } = planAudit(sockets, this.#options.rounds);
    if (!this.#isSelected(audit) || this.#signal.aborted) return;
    send({ progress: `after the rounds · ${audit.name}` });
    try {
      const driver = [...this.#workshop.command(audit.driver), "0", "0", ...audit.settings];
      const command = namespaceCommand(audit.namespace!, driver);
      const { auditNs, ssNs } = await runCell<AuditMeasurement>(command, [], LONGEST_MS, this.#signal);
      const round = (elapsedNs: number) => ({ count: sockets, elapsedNs, cost: null });
      for (const elapsedNs of auditNs) this.#ledger.add(audit, round(elapsedNs));
      for (const elapsedNs of ssNs) this.#ledger.add(ss, round(elapsedNs));
    } catch (error) {
      if (!this.#signal.aborted) this.#ledger.miss(audit, (error as Error).message);
    }
  }

  async #measureAfter(plan: CellPlan): Promise<void> {
    const measurement = await this.#run(plan, LONGEST_MS, "after the rounds");
    if (measurement) this.#ledger.add(plan, measurement);
  }

  /** Returns MANY_SOCKETS, or fewer if the limit of open files is lower and cannot be raised. */
  async #countSockets(): Promise<number> {
    const { files = 0 } = planInProgress(MANY_SOCKETS);
    const costCommand = this.#costCommand.slice(0, 1);
    if (costCommand.length > 0) {
      const raised = runCell(["true"], [...costCommand, String(files)], 0, this.#signal);
      if (await raised.then(isTrue, isFalse)) return MANY_SOCKETS;
    }
    return mostSockets(limitOfFiles());
  }

  #report(): BenchReport {
    const results = this.#ledger.results();
    const { rounds, cellMs, only, drivers, scan } = this.#options;
    const isAsked = ({ because }: BenchRow) => only.length === 0 || because !== NOT_MEASURED;
    const isScanned = scan.threads.length + scan.ranges.length > 0;
    return {
      schema: "selfconnect.bench/1",
      startedAt: this.#startedAt.toISOString(),
      elapsedMs: performance.now() - this.#begunAtMs,
      rounds,
      cellMs,
      isInterrupted: this.#signal.aborted,
      ...(drivers.length > 0 ? { drivers } : {}),
      ...(isScanned ? { scan } : {}),
      rows: this.#rows(results).filter(isAsked),
      cells: [...results.cells.values()],
      skipped: this.#ledger.listSkipped(),
      environment: environment(),
    };
  }

  #rows(results: Results): BenchRow[] {
    const { isLong, drivers, scan } = this.#options;
    const few = planInProgress(FEW_SOCKETS).name;
    const many = planInProgress(this.#sockets).name;
    const isFewer = this.#sockets < MANY_SOCKETS;
    const limit = limitOfFiles();
    const because = isFewer ? `${MANY_SOCKETS} not tried: the hard limit of open files is ${limit}` : null;
    const growth = { bytes: this.#growthBytes, text: describeAttempts(isLong) };
    const asked = planAskedRatios(drivers, scan);
    return [
      ...computeBenchRows(results, growth, { few, many, because }, asked),
      ...guardRows(results),
      ...dialerRows(results),
      ...auditRows(results, limit),
    ];
  }

  /** The texts of all rows: of cells that are all missing. */
  #listRows(): string[] {
    const guards = [...GUARD_PLACES, ...BUSY_PLACES].map((place) => guardCell(place, "node:net", "connect"));
    const missing = new Map([...guards, ...DIALERS].map(({ name }) => [name, ""]));
    return this.#rows({ cells: new Map(), cpuUs: new Map(), missing }).map(({ what }) => what);
  }
}

/** A port where nothing listens: in the ephemeral range with the parity that connect(2) picks, or outside of it. */
function findPeerPort(where: "ephemeral" | "outside"): number {
  const { low, high } = portFacts().ephemeralRange ?? { low: 32_768, high: 60_999 };
  if (where === "ephemeral") return findFreePort({ low, high }, { parity: "low" });
  return findFreePort(low > 1100 ? { low: 1024, high: low - 1 } : { low: high + 1, high: 65_535 });
}

/** proc(5), limits: the hard limit, to which Node raises the soft one. */
function limitOfFiles(): number {
  return Number(/^Max open files +\d+ +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 1024);
}

const isTrue = () => true;
const isFalse = () => false;

function send(message: { progress: string } | { rows: string[] } | { report: BenchReport }): void {
  process.send?.(message);
}

const halt = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => halt.abort());
process.on("disconnect", () => halt.abort());
{
  using workshop = new Workshop();
  const options: Options = JSON.parse(process.argv[2]!);
  send({ report: await new Bench(options, halt.signal, workshop).run() });
}
process.disconnect?.();
