/** The cells that the command line adds to a round: drivers of one's own, and one cell for each value of a scan. */
import type { BenchDriver, BenchScan } from "../lib/report/index.ts";
import type { RatioPlan } from "./rows.ts";
import { BEST, OURS } from "./rows.ts";
import type { CellPlan } from "./trials.ts";
import { ROUND } from "./trials.ts";

const LOOPS = ["fresh", "reuse"] as const;

/** The cells of drivers and scans that ROUND has not. */
export function planAskedCells(drivers: readonly BenchDriver[], { threads, ranges }: BenchScan): CellPlan[] {
  const cells = [...drivers.map(planDriver), ...threads.flatMap(planThreads), ...ranges.flatMap(planRange)];
  return cells.filter(({ name }) => ROUND.every((one) => one.name !== name));
}

/** Their rows. */
export function planAskedRatios(drivers: readonly BenchDriver[], { threads }: BenchScan): RatioPlan[] {
  return [
    ...drivers.map(({ name }) => ({ what: `fastest strategy to ${name}`, of: OURS, to: name, limit: BEST })),
    ...threads.filter((count) => count > 2).map(planThreadsRatio),
  ];
}

/** `exec` makes the shell the program, so that a signal and the CPU time are the program's. */
function planDriver({ name, command }: BenchDriver): CellPlan {
  const shell = ["sh", "-c", `exec ${command} "$@"`, name];
  return { trial: "attempts", name, driver: name, command: shell, peer: "dead", settings: [] };
}

function planThreads(count: number): CellPlan[] {
  const cells = LOOPS.map((strategy) => ({
    trial: "attempts" as const,
    name: threadsName(strategy, count),
    driver: "loop.ts",
    peer: "dead" as const,
    settings: [strategy, String(count)],
  }));
  const limit = { ...cells[0]!, name: processesName(count), driver: "reuse.c", settings: [String(count)] };
  return [...cells, limit];
}

function planThreadsRatio(count: number): RatioPlan {
  const limit = processesName(count);
  return {
    what: `reuse, ${count} threads to 1`,
    of: [threadsName("reuse", count)],
    to: "selfconnect reuse",
    limit,
  };
}

function threadsName(strategy: string, count: number): string {
  return `selfconnect ${strategy}${count === 1 ? "" : `, ${count} threads`}`;
}

function processesName(count: number): string {
  return `C, one socket again${count === 1 ? "" : `, ${count} processes`}`;
}

/** Until joined, in a network namespace with this ephemeral range; the peer is its low end. */
function planRange({ low, high }: BenchScan["ranges"][number]): CellPlan[] {
  return LOOPS.map((strategy) => ({
    trial: "time" as const,
    name: `selfconnect ${strategy} until joined, range ${low}-${high}`,
    driver: "until.ts",
    peer: "ephemeral" as const,
    settings: [strategy, "1"],
    namespace: { low, high, timeWaitBuckets: null },
  }));
}
