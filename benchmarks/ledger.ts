/** Collects the measurements of all rounds by cell, and sums them up. */

import { summarize } from "../lib/index.ts";
import type { BenchCell, BenchTrial } from "../lib/report/index.ts";
import { BENCH_UNITS } from "../lib/report/index.ts";
import type { Cost, Measurement } from "./cell.ts";
import { agrees, pairedRatio } from "./ratio.ts";
import type { Results } from "./rows.ts";
import type { CellPlan } from "./trials.ts";
import { LIMITS } from "./trials.ts";

const NS_PER_US = 1e3;
const NS_PER_MS = 1e6;
const NS_PER_SECOND = 1e9;
/** The start's cost varies: of a cell that took less than this part of it beside, nothing is known. */
const LEAST_REST = 0.5;

export class Ledger {
  readonly #plans = new Map<string, CellPlan>();
  readonly #measured = new Map<string, Measurement[]>();
  readonly #startCosts = new Map<string, Cost>();
  readonly #missing = new Map<string, string>();

  /** Records the cost of a driver that makes no attempts. */
  addStart(plan: CellPlan, measurement: Measurement): void {
    if (measurement.cost) this.#startCosts.set(plan.name, measurement.cost);
  }

  add(plan: CellPlan, measurement: Measurement): void {
    this.#plans.set(plan.name, plan);
    this.#measured.set(plan.name, [...(this.#measured.get(plan.name) ?? []), measurement]);
  }

  /** Drops a cell and its measurements, because a driver that fails has no rate. */
  miss(plan: CellPlan, because: string): void {
    this.#missing.set(plan.name, because);
    this.#measured.delete(plan.name);
  }

  isMissing(plan: CellPlan): boolean {
    return this.#missing.has(plan.name);
  }

  listSkipped(): { name: string; because: string }[] {
    return [...this.#missing].map(([name, because]) => ({ name, because }));
  }

  results(): Results {
    const cells = [...this.#measured].map(([name, all]) => this.#cell(this.#plans.get(name)!, all));
    const cpuUs = cells.map(({ name }) => [name, this.#cpuUs(this.#plans.get(name)!)] as const);
    return {
      cells: new Map(cells.map((cell) => [cell.name, cell])),
      cpuUs: new Map(cpuUs),
      missing: this.#missing,
    };
  }

  #cell(plan: CellPlan, all: readonly Measurement[]): BenchCell {
    const rounds = this.#rounds(plan);
    const limit = this.#plans.get(LIMITS[plan.trial] ?? "");
    const toLimit = limit ? pairedRatio(rounds, this.#rounds(limit)) : null;
    const peaks = all.flatMap(({ cost }) => cost?.peakMemoryBytes ?? []);
    return {
      trial: plan.trial,
      name: plan.name,
      rounds,
      summary: summarize(rounds)!,
      toLimit: toLimit && agrees(toLimit) ? toLimit : null,
      cpuUsPerAttempt: summarize(this.#cpuUs(plan))?.median ?? null,
      peakMemoryBytes: peaks.length > 0 ? Math.max(...peaks) : null,
      eventLoopDelayMs: eventLoopDelay(all),
      ...countsOf(all),
    };
  }

  #rounds(plan: CellPlan): number[] {
    const all = this.#measured.get(plan.name) ?? [];
    return all.map((measurement) => figureOf(plan.trial, measurement));
  }

  /** CPU time per attempt in each round. */
  #cpuUs({ name, trial }: CellPlan): number[] {
    if (BENCH_UNITS[trial]) return [];
    const all = this.#measured.get(name) ?? [];
    const own = all.flatMap(({ cpuNs, count }) => (cpuNs === undefined ? [] : cpuNs / NS_PER_US / count));
    return own.length === all.length ? own : this.#restsUs(name, all);
  }

  /** CPU time per attempt without that of the driver's start; none where the start is most of it. */
  #restsUs(name: string, all: readonly Measurement[]): number[] {
    const start = this.#startCosts.get(name);
    if (!start) return [];
    const rests = all.map(({ cost }) => (cost ? cost.cpuUs - start.cpuUs : 0));
    if (rests.some((restUs) => restUs < LEAST_REST * start.cpuUs)) return [];
    return rests.map((restUs, round) => restUs / all[round]!.count);
  }
}

/** The figure of a round, in the unit of its trial. */
function figureOf(trial: BenchTrial, { count, elapsedNs, growthBytes = 0 }: Measurement): number {
  const unit = BENCH_UNITS[trial];
  if (unit === "bytes") return growthBytes;
  return unit === "milliseconds" ? elapsedNs / NS_PER_MS : (count * NS_PER_SECOND) / elapsedNs;
}

/** The further counts of a driver's last run. */
function countsOf(all: readonly Measurement[]): Pick<BenchCell, "counts"> {
  const counts = all.at(-1)?.counts;
  return counts ? { counts } : {};
}

function eventLoopDelay(all: readonly Measurement[]): BenchCell["eventLoopDelayMs"] {
  const delays = all.flatMap(({ eventLoopDelayMs }) => eventLoopDelayMs ?? []);
  const p50 = summarize(delays.map((delay) => delay.p50));
  const p99 = summarize(delays.map((delay) => delay.p99));
  const max = summarize(delays.map((delay) => delay.max));
  return p50 && p99 && max ? { p50: p50.median, p99: p99.median, max: max.max } : null;
}
