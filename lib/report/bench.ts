/** The object of docs/schema/bench-1.json: the results of `selfconnect bench`. */
import type { Environment } from "../kernel/host.ts";
import type { Summary } from "../loop/statistics.ts";
import { bytes, count, duration, mebibytes, ratio } from "./numbers.ts";

/** The ratio of two cells, computed within each round. */
export interface PairedRatio {
  /** The median of the rounds' ratios. */
  readonly median: number;
  /** The interval that holds the true median with this confidence, whatever the distribution (order statistics). */
  readonly low: number;
  /** The upper end of the interval. */
  readonly high: number;
  /** The probability that the interval holds the true median, 0 to 1. */
  readonly confidence: number;
  /** How many rounds it is made of. */
  readonly rounds: number;
}

/** What a cell of a benchmark counts; BENCH_TRIALS describes each. */
export type BenchTrial =
  | "attempts"
  | "self-connects"
  | "connects"
  | "ipv6"
  | "doors"
  | "requests"
  | "own-server"
  | "start-up"
  | "time"
  | "memory"
  | "in-progress"
  | "stop"
  | "held"
  | "guard"
  | "dials"
  | "audit";

/** A driver of one's own: what `--driver NAME=COMMAND` adds to the trial "attempts". */
export interface BenchDriver {
  /** Its name in the tables. */
  readonly name: string;
  /** The program and its arguments, as a shell reads them. */
  readonly command: string;
}

/** The values of `--scan`: each adds cells, threads to the trial "attempts", ephemeral ranges to "time". */
export interface BenchScan {
  /** Numbers of threads. */
  readonly threads: readonly number[];
  /** Ephemeral ranges. */
  readonly ranges: readonly { readonly low: number; readonly high: number }[];
}

/** One driver in one trial. It runs in a new process in every round. */
export interface BenchCell {
  /** What was measured. */
  readonly trial: BenchTrial;
  /** Who was measured: the driver. */
  readonly name: string;
  /** One value per round: a rate per second, or in the unit of BENCH_UNITS. */
  readonly rounds: readonly number[];
  /** Statistics of the rounds. */
  readonly summary: Summary;
  /** The ratio to the trial's limit, the best C loop of this run. Null without a limit, or where rounds disagree. */
  readonly toLimit: PairedRatio | null;
  /** CPU time of the process and its children per attempt, without the CPU time of its start. */
  readonly cpuUsPerAttempt: number | null;
  /** The most memory that the process had (wait4(2)); null when not measured. */
  readonly peakMemoryBytes: number | null;
  /** Delay of the main thread's event loop: the medians of the rounds' p50 and p99, and the maximum of all rounds. */
  readonly eventLoopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number } | null;
  /** In the trial "dials": how often a self-connect was returned, the port was not free, an attempt was rejected. */
  readonly counts?: Readonly<Record<string, number>>;
}

/** Whether a row of a benchmark reached its bound. */
export type BenchVerdict =
  /** At or past the bound. */
  | "reached"
  | "missed"
  /** The rounds disagree too much to print a figure. */
  | "disagree"
  /** A cell that the row needs is missing. */
  | "skipped"
  /** The row has a figure but no bound. */
  | "reported";

/** One figure of the benchmark, with its bound and verdict. */
export interface BenchRow {
  /** What the figure is. */
  readonly what: string;
  /** The unit of the figure, of its interval and its bound. */
  readonly unit: "ratio" | "bytes" | "milliseconds" | "dials";
  /** What it should reach; null without a goal. */
  readonly bound: { readonly kind: "at least" | "at most"; readonly value: number } | null;
  /** The figure; null when it could not be measured. */
  readonly value: number | null;
  /** The interval of a ratio. */
  readonly low: number | null;
  /** The upper end of the interval; null without one. */
  readonly high: number | null;
  /** Whether it reached the bound. */
  readonly verdict: BenchVerdict;
  /** Why there is no figure, or why it missed the bound. */
  readonly because: string | null;
}

/** The object of docs/schema/bench-1.json. */
export interface BenchReport {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.bench/1";
  /** When it began, as an ISO 8601 time. */
  readonly startedAt: string;
  /** How long it took, in milliseconds. */
  readonly elapsedMs: number;
  /** How many rounds were made. */
  readonly rounds: number;
  /** How long each cell ran in a round, in milliseconds. */
  readonly cellMs: number;
  /** Whether Ctrl-C ended it: the rows have fewer rounds then. */
  readonly isInterrupted: boolean;
  /** The drivers of `--driver`; absent where none was given. */
  readonly drivers?: readonly BenchDriver[];
  /** The cells of `--scan`; absent where none was given. */
  readonly scan?: BenchScan;
  /** The figures with their bounds. */
  readonly rows: readonly BenchRow[];
  /** What the figures are made of: each driver in each trial. */
  readonly cells: readonly BenchCell[];
  /** Drivers that could not run, each with the reason. */
  readonly skipped: readonly { readonly name: string; readonly because: string }[];
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

/** A row's figure: "0.98 (0.97–0.99)", "1.2 MiB", "8.1 ms", or why there is none. */
export function benchFigure(row: BenchRow): string {
  if (row.value === null) return row.because ?? "";
  if (row.unit === "bytes") return bytes(row.value);
  if (row.unit === "milliseconds") return duration(row.value);
  if (row.unit === "dials") return count(row.value);
  const interval = row.low === null ? "" : ` (${ratio(row.low)}–${ratio(row.high!)})`;
  return `${ratio(row.value)}${interval}`;
}

/** "at least 0.97", "at most 2.0 MiB"; "" where there is no bound. */
export function benchBound(row: BenchRow): string {
  if (!row.bound) return "";
  const { kind, value } = row.bound;
  const figure =
    row.unit === "bytes" ? bytes(value) : row.unit === "milliseconds" ? `${value} ms` : String(value);
  return `${kind} ${figure}`;
}

/** The columns of a cell: name, rate, spread, to the limit, CPU, memory, event-loop delay. */
export const BENCH_CELL_COLUMNS = [
  "driver",
  "median",
  "min – max",
  "to the limit",
  "CPU",
  "peak memory",
  "event-loop delay",
] as const;

/** One text for each of BENCH_CELL_COLUMNS; "" where nothing was measured. */
export function benchCellTexts(cell: BenchCell): string[] {
  const { summary, toLimit, cpuUsPerAttempt, peakMemoryBytes, eventLoopDelayMs: delay } = cell;
  const figure = FIGURES[BENCH_UNITS[cell.trial] ?? "per second"];
  return [
    cell.name,
    figure(summary.median),
    `${figure(summary.min)} – ${figure(summary.max)}`,
    toLimit ? ratio(toLimit.median) : "",
    cpuUsPerAttempt === null ? "" : `${cpuUsPerAttempt.toFixed(1)} µs`,
    peakMemoryBytes === null ? "" : mebibytes(peakMemoryBytes),
    delay ? `p50 ${delay.p50.toFixed(1)}, p99 ${delay.p99.toFixed(1)}, max ${delay.max.toFixed(1)} ms` : "",
  ];
}

/** The unit of a trial's figures where it is no rate per second. */
export const BENCH_UNITS: Readonly<Partial<Record<BenchTrial, "milliseconds" | "bytes">>> = {
  time: "milliseconds",
  stop: "milliseconds",
  held: "bytes",
};

const FIGURES = { milliseconds: duration, bytes, "per second": (rate: number) => `${count(rate)}/s` };

/** What each trial counts, as the heading of its table. */
export const BENCH_TRIALS: Readonly<Record<BenchTrial, string>> = {
  attempts: "attempts per second to a dead port",
  "self-connects": "self-connects per second, each reset",
  connects: "connects per second to a live listener, each reset",
  ipv6: "attempts per second to a dead port, over IPv6 and over IPv4",
  doors: "connects per second to a live listener by each door, each reset",
  requests: "requests per second to a server of the same process, each on a connection of its own",
  "own-server": "connects per second to a server of the same process, each reset",
  "start-up": "starts of Node per second",
  time: "time to self-connect, each round with a new peer port",
  memory: "attempts per second while peak memory is measured",
  "in-progress": "sockets per second of CPU time, all in connected() at once, all refused",
  stop: "time to stop a loop while no SYN is answered, median of 50 aborts",
  held: "memory of the process for each connection that it holds",
  guard: "connects per second to a live listener, one at a time, at the median of a round",
  dials: "dials per second to a dead port of a small ephemeral range",
  audit: "sockets per second of CPU time, all listed with the processes that have them open",
};

/** The trials of a report, in the order of BENCH_TRIALS, each with its cells. */
export function benchCellsByTrial(report: BenchReport): [BenchTrial, BenchCell[]][] {
  const trials = Object.keys(BENCH_TRIALS) as BenchTrial[];
  return trials
    .map((trial): [BenchTrial, BenchCell[]] => [trial, report.cells.filter((cell) => cell.trial === trial)])
    .filter(([, cells]) => cells.length > 0);
}

/** The host and the run in one line. */
export function benchHeading(report: BenchReport): string {
  const { kernel, architecture, cpus, node, version } = report.environment;
  const host = `Node ${node}, Linux ${kernel} ${architecture}, ${cpus} CPUs`;
  const run = `${report.rounds} rounds, ${report.cellMs} ms a cell, ${duration(report.elapsedMs)}`;
  return `selfconnect ${version}, ${host}: ${run}`;
}
