/** The outcome of one loop or several, as the object of docs/schema/reconnect-1.json and as text. */
import type { JoinedMoment } from "../audit/joined.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import type { SocketOwner } from "../kernel/tables.ts";
import type { ReconnectResult, Trial } from "../loop/reconnect.ts";
import { summarizeTrials } from "../loop/reconnect.ts";
import type { Spread, Summary } from "../loop/statistics.ts";
import { spreadOf } from "../loop/statistics.ts";
import type { WaitTest } from "../ports/check.ts";
import type { Never } from "../ports/never.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress } from "../socket/address.ts";
import { netstatLines } from "./netstat.ts";
import { count, duration, pluralize } from "./numbers.ts";
import type { HistogramBar } from "./reconnect-histogram.ts";
import { histogramLines, histogramOf } from "./reconnect-histogram.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, paint, renderText, tableLines } from "./terminal.ts";

/** The object of docs/schema/reconnect-1.json. */
export interface ReconnectReport
  extends Pick<ReconnectResult, "strategy" | "threads" | "engine" | "engineRefusal" | "verdict" | "local"> {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.reconnect/1";
  /** The address that was connected to. */
  readonly peer: Pick<Address, "family" | "host" | "port">;
  /** Why a self-connect never happens; null when it may. */
  readonly never: Never | null;
  /** How many connect(2) were made in all trials. */
  readonly attempts: number;
  /** How long they took, in milliseconds. */
  readonly elapsedMs: number;
  /** The mean rate over all trials. */
  readonly attemptsPerSecond: number;
  /** How many attempts had each outcome: an errno name, `connected`, `self-connect`, `deadline`. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Each trial that counts, in order, with its peer's port. */
  readonly trials: readonly (Trial & { readonly port: number })[];
  /** "cold" where each trial had a peer's port of its own, else "chained": it began where the one before ended. */
  readonly starts: ReconnectTrials["starts"];
  /** How many trials were made before these, and do not count. */
  readonly warmUp: number;
  /** The exact distribution of cold starts, and whether the attempts follow it; null where there is none. */
  readonly law: {
    /** How this host picks ports. */
    readonly algorithm: string;
    /** The mean of the distribution, in attempts. */
    readonly mean: number;
    /** The statistic of the Kolmogorov-Smirnov test. */
    readonly statistic: number;
    /** The probability of attempts that fit as badly or worse, if they follow it. */
    readonly p: number;
  } | null;
  /** How many trials took how many attempts; empty for fewer than five. */
  readonly histogram: readonly HistogramBar[];
  /** Statistics of the trials that were joined to themselves; null without one. */
  readonly attemptsToSelfConnect: Summary | null;
  /** Deviation, p99, an interval of the mean and outliers of the same trials; null for fewer than five. */
  readonly attemptsSpread: Spread | null;
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

/** How several trials were made. */
export interface ReconnectTrials {
  /** Whether each began at a random place of the kernel's walk, or where the one before ended. */
  readonly starts: "cold" | "chained";
  /** How many trials were made before those that count. */
  readonly warmUp: number;
  /** What is predicted of cold starts, and the test of it; null where nothing is. */
  readonly law: (WaitTest & { readonly algorithm: string }) | null;
}

/** What the kernel's socket tables add to the results, and how the trials were made. */
export interface ReconnectTextOptions extends TextOptions {
  /** Default: chained trials. */
  readonly trials?: ReconnectTrials;
  /** The socket that is joined to itself, while it is open. */
  readonly moment?: JoinedMoment | null;
  /** The owner of the listener that a loop connected to. */
  readonly listener?: SocketOwner | null;
}

const CHAINED: ReconnectTrials = { starts: "chained", warmUp: 0, law: null };

/** Builds the object of docs/schema/reconnect-1.json. `results` has at least one trial, all of one kind, in order. */
export function reconnectReport(
  results: readonly ReconnectResult[],
  never: Never | null,
  { starts, warmUp, law }: ReconnectTrials = CHAINED,
): ReconnectReport {
  const last = results.at(-1)!;
  const { family, host, port } = last.peer;
  const attempts = sum(results.map((result) => result.attempts));
  const elapsedMs = sum(results.map((result) => result.elapsedMs));
  const trials = results.map(({ verdict, attempts, elapsedMs, peer }) => ({
    ...{ verdict, attempts, elapsedMs },
    port: peer.port,
  }));
  return {
    schema: "selfconnect.reconnect/1",
    peer: { family, host, port },
    strategy: last.strategy,
    threads: last.threads,
    engine: last.engine,
    engineRefusal: last.engineRefusal,
    verdict: last.verdict,
    never,
    attempts,
    elapsedMs,
    attemptsPerSecond: elapsedMs > 0 ? (attempts * 1000) / elapsedMs : 0,
    outcomes: mergeOutcomes(results),
    local: last.local,
    trials,
    starts,
    warmUp,
    law: law && { algorithm: law.algorithm, mean: law.wait.mean, ...law.test },
    histogram: barsOf(results, law),
    attemptsToSelfConnect: summarizeTrials(trials).attempts,
    attemptsSpread: spreadOf(joinedAttempts(results)),
    environment: environment(),
  };
}

function mergeOutcomes(results: readonly ReconnectResult[]): Record<string, number> {
  const merged: Record<string, number> = {};
  for (const { outcomes } of results) {
    for (const [name, number] of Object.entries(outcomes)) merged[name] = (merged[name] ?? 0) + number;
  }
  return merged;
}

/** Loops for a terminal: the self-connect, or why it did not happen; several trials as a table. */
export function reconnectText(
  results: readonly ReconnectResult[],
  options: ReconnectTextOptions = {},
): string {
  const last = results.at(-1)!;
  const lines: Line[] = results.length > 1 ? trialLines(results, options.trials ?? CHAINED) : [];
  if (last.verdict !== "self-connect") lines.push(failureText(last, options.listener ?? null));
  else if (results.length === 1 && options.moment) lines.push(...momentLines(last, options.moment));
  return renderText(lines, options);
}

function trialLines(results: readonly ReconnectResult[], how: ReconnectTrials): Line[] {
  const { attempts, elapsedMs } = summarizeTrials(results);
  const done = results.filter((result) => result.verdict === "self-connect").length;
  const warm = how.warmUp > 0 ? `, after ${count(how.warmUp)} that are not counted` : "";
  const title = `${count(done)} of ${count(results.length)} trials self-connected${warm}`;
  if (!attempts || !elapsedMs) return [title];
  const columns = ["min", "median", "mean", "p90", "max"] as const;
  const rows = [
    ["", ...columns],
    ["attempts", ...columns.map((column) => count(attempts[column]))],
    ["time", ...columns.map((column) => duration(elapsedMs[column]))],
  ];
  return [
    title,
    ...tableLines(rows, "lrrrrr", 3),
    ...spreadLines(joinedAttempts(results)),
    ...barLines(barsOf(results, how.law)),
    ...startLines(results[0]!, how),
  ];
}

function barLines(bars: readonly HistogramBar[]): Line[] {
  return bars.length === 0 ? [] : ["", "trials by their number of attempts", ...histogramLines(bars), ""];
}

/** Trials of a plain connect share the walk of their peer, and so are no independent samples of the law. */
function startLines({ strategy }: ReconnectResult, { starts, law }: ReconnectTrials): Line[] {
  if (starts === "cold") return ["cold starts: each trial has a peer's port of its own", ...lawLines(law)];
  if (strategy !== "fresh" && strategy !== "reuse") return [];
  return [
    "chained: where the kernel walks through its ports, a trial begins on the port on which the last one ended;",
    "with --cold each has a peer's port of its own",
  ];
}

/** A right law has a p-value below this in one run of a hundred. */
const LEAST_P = 0.01;

function lawLines(law: ReconnectTrials["law"]): Line[] {
  if (!law) return [];
  const { statistic, p } = law.test;
  const verdict = p >= LEAST_P ? paint("green", "they agree") : paint("red", "they do not agree");
  const test = `Kolmogorov-Smirnov test against it: D = ${statistic.toFixed(3)}, p = ${p.toFixed(3)}: `;
  return [`the exact distribution (${law.algorithm}) has the mean ${count(law.wait.mean)}`, [test, verdict]];
}

/** The histogram of the trials that self-connected; none for fewer than five. */
export function barsOf(
  results: readonly Pick<ReconnectResult, "verdict" | "attempts">[],
  law: ReconnectTrials["law"],
): HistogramBar[] {
  const attempts = joinedAttempts(results);
  return attempts.length < FEWEST_BARS ? [] : histogramOf(attempts, law?.wait ?? null);
}

const FEWEST_BARS = 5;

function joinedAttempts(results: readonly Pick<ReconnectResult, "verdict" | "attempts">[]): number[] {
  return results.flatMap(({ verdict, attempts }) => (verdict === "self-connect" ? [attempts] : []));
}

function spreadLines(attempts: readonly number[]): Line[] {
  const spread = spreadOf(attempts);
  if (!spread) return [];
  const { deviation, p99, meanLow, meanHigh, outliers } = spread;
  const far = outliers.map((index) => `trial ${count(index + 1)} (${count(attempts[index]!)})`);
  return [
    `attempts: standard deviation ${count(deviation)}, p99 ${count(p99)}, ` +
      `mean ${count(meanLow)} to ${count(meanHigh)} with 95 % confidence`,
    ...(far.length > 0 ? [`far from the others: ${far.join(", ")}`] : []),
  ];
}

function failureText(result: ReconnectResult, listener: SocketOwner | null): string {
  const effort = `${pluralize(result.attempts, "attempt")} in ${duration(result.elapsedMs)}`;
  const outcomes = Object.entries(result.outcomes).map(([name, number]) => `${name} ${count(number)}`);
  const owner = listener ? ` (pid ${listener.pid}, ${listener.command})` : "";
  const verdicts = {
    connected: `connected to a listener, not to itself: something listens on ${formatAddress(result.peer)}${owner}`,
    "attempts-spent": "not joined to itself: no attempts left",
    deadline: "not joined to itself: the time is up",
    interrupted: "interrupted, not joined to itself",
    "self-connect": "",
  };
  return `${verdicts[result.verdict]}; ${effort} (${outcomes.join(", ") || "no outcome"})`;
}

function momentLines(result: ReconnectResult, { local, peer, rows, whyNoRows }: JoinedMoment): Line[] {
  const rate = `${count(result.attemptsPerSecond)} attempts per second, engine ${result.engine}`;
  const after = `${pluralize(result.attempts, "attempt")} in ${duration(result.elapsedMs)} (${rate})`;
  return [
    [paint("bold", "joined to itself"), ` after ${after}`],
    "",
    `  local ${formatAddress(local)}  getsockname(2)`,
    `  peer  ${formatAddress(peer)}  getpeername(2)`,
    "",
    ...indent("  ", whyNoRows === null ? netstatLines(rows) : [`(no row: ${whyNoRows})`]),
  ];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
