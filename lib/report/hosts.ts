/** What a command found on several hosts: the object of docs/schema/hosts-1.json, and one line for each host. */
import type { HostResult } from "../lab/on-hosts.ts";
import type { AuditReport } from "./audit.ts";
import { summaryLine } from "./audit.ts";
import type { BenchReport } from "./bench.ts";
import { benchCellsByTrial, benchCellTexts } from "./bench.ts";
import { neverLine } from "./never.ts";
import { count } from "./numbers.ts";
import type { PortsReport } from "./ports.ts";
import { verdictLines } from "./ports.ts";
import type { PredictReport } from "./predict.ts";
import type { Line, Piece, TextOptions } from "./terminal.ts";
import { paint, renderText, tableLines } from "./terminal.ts";
import type { WhoReport } from "./who.ts";
import { serverLine } from "./who.ts";

/** The object of docs/schema/hosts-1.json: for each host the object of its command, or why there is none. */
export type HostsReport = readonly (
  | { readonly host: string; readonly result: Readonly<Record<string, unknown>> }
  | { readonly host: string; readonly error: string }
)[];

/** The main figures of each command, in its own words. */
const FIGURES: Readonly<Record<string, (result: never, status: number | null) => Line>> = {
  audit: (found: AuditReport) => summaryLine(found),
  ports: ({ verdict }: PortsReport) => verdictLines({ verdict })[0]!,
  who: ({ tries, holders, waitMs }: WhoReport) => {
    const [first] = holders.filter(({ isInTheWay }) => isInTheWay);
    return [...piecesOf(serverLine(tries[0]!, waitMs)), first ? `; ${first.is}` : ""];
  },
  predict: predictLine,
  bench: (report: BenchReport) =>
    benchCellsByTrial(report)
      .map(([trial, [cell]]) => `${trial}: ${benchCellTexts(cell!).slice(0, 2).join(" ")}`)
      .join("; "),
};

/** Builds the object of docs/schema/hosts-1.json. */
export function hostsReport(results: readonly HostResult[]): HostsReport {
  return results.map(({ host, result, error = "no result" }) =>
    result ? { host, result } : { host, error },
  );
}

/** The hosts for a terminal: each with its kernel, and the main figures of the command or why there are none. */
export function hostsText(
  command: string,
  results: readonly HostResult[],
  options: TextOptions = {},
): string {
  const rows = results.map((one) => ({ ...one, words: wordsOf(command, one) }));
  const columns = tableLines(
    rows.map(({ host, result }) => [host, kernelOf(result) || " ", " "]),
    "lll",
  );
  const lines = rows.map(({ words }, at) => [...piecesOf(columns[at]!), ...piecesOf(words)]);
  return renderText(lines, options);
}

/** What comes from another host may have any form: that is the failure of the host. */
function wordsOf(command: string, { result, error, status }: HostResult): Line {
  try {
    if (result) return FIGURES[command]!(result as never, status);
  } catch {
    return [paint("red", "no result"), ": it has another form than this version's"];
  }
  return [paint("red", "no result"), `: ${error}`];
}

function kernelOf(result: HostResult["result"]): string {
  const { kernel } = (result?.environment ?? {}) as { kernel?: unknown };
  return typeof kernel === "string" ? kernel : "";
}

function predictLine({ never, predictions, check, neverCheck }: PredictReport, status: number | null): Line {
  const verdict = status === 0 ? paint("green", "holds") : paint("red", "does not hold");
  const checked = check
    ? [
        `; ${count(check.trials.length)} real self-connects, p = ${check.p.toFixed(3)}: the prediction `,
        verdict,
      ]
    : neverCheck
      ? [
          `; ${count(neverCheck.selfConnects)} in ${count(neverCheck.attempts)} attempts: the prediction `,
          verdict,
        ]
      : [];
  if (never) return [...piecesOf(neverLine({ because: never.because })), ...checked];
  const [first] = predictions;
  if (!first) return "unknown";
  const { chancePerAttempt, attempts } = first;
  const mean = `1 in ${count(1 / chancePerAttempt)} per attempt, ${count(attempts.mean)} attempts on average`;
  return [mean, ...checked];
}

function piecesOf(line: Line): readonly Piece[] {
  return typeof line === "string" ? [line] : line;
}
