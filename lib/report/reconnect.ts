/** The outcome of one loop or several, as the object of docs/schema/reconnect-1.json and as text. */
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import type { SocketOwner, SocketRow } from "../kernel/tables.ts";
import type { ReconnectResult, Trial } from "../loop/reconnect.ts";
import { summarizeTrials } from "../loop/reconnect.ts";
import type { Summary } from "../loop/statistics.ts";
import type { Never } from "../ports/never.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress } from "../socket/address.ts";
import { netstatLines } from "./netstat.ts";
import { count, duration, pluralize } from "./numbers.ts";
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
  /** Each trial, in order. */
  readonly trials: readonly Trial[];
  /** Statistics of the trials that were joined to themselves; null without one. */
  readonly attemptsToSelfConnect: Summary | null;
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

/** What the kernel's socket tables add to the results. */
export interface ReconnectTextOptions extends TextOptions {
  /** The rows of the socket that is joined to itself, or why they are missing. */
  readonly rows?: readonly (readonly [SocketRow, SocketOwner | null])[] | string;
  /** The owner of the listener that a loop connected to. */
  readonly listener?: SocketOwner | null;
}

/** Builds the object of docs/schema/reconnect-1.json. `results` has at least one trial, all of one kind, in order. */
export function reconnectReport(results: readonly ReconnectResult[], never: Never | null): ReconnectReport {
  const last = results.at(-1)!;
  const { family, host, port } = last.peer;
  const attempts = sum(results.map((result) => result.attempts));
  const elapsedMs = sum(results.map((result) => result.elapsedMs));
  const trials: Trial[] = results.map(({ verdict, attempts, elapsedMs }) => ({
    verdict,
    attempts,
    elapsedMs,
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
    attemptsToSelfConnect: summarizeTrials(trials).attempts,
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
  const lines: Line[] = results.length > 1 ? trialLines(results) : [];
  if (last.verdict !== "self-connect") lines.push(failureText(last, options.listener ?? null));
  else if (results.length === 1) lines.push(...momentLines(last, options.rows ?? []));
  return renderText(lines, options);
}

function trialLines(results: readonly ReconnectResult[]): Line[] {
  const { attempts, elapsedMs } = summarizeTrials(results);
  const done = results.filter((result) => result.verdict === "self-connect").length;
  const title = `${count(done)} of ${count(results.length)} trials self-connected`;
  if (!attempts || !elapsedMs) return [title];
  const columns = ["min", "median", "mean", "p90", "max"] as const;
  const rows = [
    ["", ...columns],
    ["attempts", ...columns.map((column) => count(attempts[column]))],
    ["time", ...columns.map((column) => duration(elapsedMs[column]))],
  ];
  return [title, ...tableLines(rows, "lrrrrr", 3)];
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

function momentLines(result: ReconnectResult, rows: NonNullable<ReconnectTextOptions["rows"]>): Line[] {
  const name = formatAddress(result.local!);
  const rate = `${count(result.attemptsPerSecond)} attempts per second, engine ${result.engine}`;
  const after = `${pluralize(result.attempts, "attempt")} in ${duration(result.elapsedMs)} (${rate})`;
  return [
    [paint("bold", "joined to itself"), ` after ${after}`],
    "",
    `  local ${name}  getsockname(2)`,
    `  peer  ${formatAddress(result.socket!.getpeername())}  getpeername(2)`,
    "",
    ...indent("  ", typeof rows === "string" ? [`(no row: ${rows})`] : netstatLines(rows)),
  ];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
