/** What every command that measures does with its result: prints it, writes files of it, compares it with another. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { writeWhole } from "../audit/whole-file.ts";
import { environment } from "../kernel/index.ts";
import type { Comparison, MeasuredResult, ResultKind } from "../report/index.ts";
import {
  compareResults,
  compareText,
  measuredResult,
  parseResult,
  resultSheet,
  sheetCsv,
  sheetHtml,
  sheetMarkdown,
} from "../report/index.ts";
import { EXIT } from "./exit-codes.ts";
import { print, printJson, textOptions } from "./output.ts";

/** The options of addResultOptions(). */
export interface ResultFlags {
  readonly output?: string;
  readonly markdown?: string;
  readonly csv?: string;
  readonly html?: string;
  readonly json?: boolean;
  readonly baseline?: string;
  readonly baselineAnyHost?: boolean;
  readonly failOn?: FailOn;
}

/** A change that makes a command exit with 3; a rate is worse only by more than `least`. */
interface FailOn {
  readonly what: "change" | "worse";
  readonly least: number;
}

const OPTIONS = {
  output: ["--output <file>", "write the object of --json, for report and --baseline"],
  markdown: ["--markdown <file>", "write a table as Markdown"],
  csv: ["--csv <file>", "write every sample and figure as CSV"],
  html: ["--html <file>", "write a page"],
} as const;

/** Adds the options of these files, each with another text where one is given. */
export function addFileOptions(
  command: Command,
  files: Readonly<Partial<Record<keyof typeof OPTIONS, string | true>>>,
): Command {
  for (const [name, words] of Object.entries(files)) {
    const [flag, plain] = OPTIONS[name as keyof typeof OPTIONS];
    command.option(flag, words === true ? plain : words);
  }
  return command;
}

/** Adds --baseline and what belongs to it. */
export function addBaselineOptions(command: Command): Command {
  command.option("--baseline <file>", "compare with this earlier result, and print what changed");
  if (command.name() === "bench") {
    command.option("--baseline-any-host", "compare even with rates that were measured on another processor");
  }
  return command.addOption(failOnOption());
}

/** --fail-on, for all that compare. */
export function failOnOption(): Option {
  const words =
    'exit with 3 on this: "change", or "worse" for less speed and more time or memory; "worse=5%" for more than that';
  return new Option("--fail-on <what>", words).argParser(parseFailOn);
}

/** "change", "worse" or "worse=5%". */
export function parseFailOn(text: string): FailOn {
  const [, what, percent] = /^(change|worse)(?:=(\d+(?:\.\d+)?)%)?$/.exec(text) ?? [];
  if (what === "change" && percent === undefined) return { what, least: 0 };
  if (what === "worse") return { what, least: Number(percent ?? 0) / 100 };
  throw new InvalidArgumentError('Use "change", "worse" or, as in "worse=5%", worse by more than that.');
}

/** Reads the result of --baseline before anything is measured. Throws unless one of `kind` can be compared with it. */
export function readBaseline(kind: ResultKind, flags: ResultFlags): MeasuredResult | null {
  if (flags.baseline === undefined) {
    if (flags.failOn) throw misuse("--fail-on needs --baseline FILE: there is nothing to compare with");
    return null;
  }
  const baseline = readResult(flags.baseline);
  if (baseline.kind !== kind) {
    throw misuse(
      `${flags.baseline} is a result of ${baseline.kind}: --baseline of ${kind} needs one of ${kind}`,
    );
  }
  if (kind === "bench" && !flags.baselineAnyHost) checkProcessor(baseline);
  return baseline;
}

function checkProcessor({ from, host }: MeasuredResult): void {
  const { architecture, cpus, processor } = environment();
  const [there, here] = [host!, { architecture, cpus, processor }].map(
    (one) => `${one.architecture}, ${one.cpus} of ${one.processor || "an unknown model"}`,
  );
  if (there === here) return;
  const fix = "--baseline-any-host compares them nevertheless";
  throw misuse(
    `${from} was measured on another processor (${there}; here ${here}), whose rates differ: ${fix}`,
  );
}

/** Reads a result from a file. Throws an Error that names the file. */
export function readResult(file: string): MeasuredResult {
  try {
    return parseResult(file, readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`);
  }
}

/** A result, and its own writers where it has better ones than those that all kinds share. */
export interface FinishedResult {
  /** The object of --json. */
  readonly report: object;
  /** Null where it has been printed already. */
  readonly text: (() => string) | null;
  readonly html?: () => string;
  readonly markdown?: () => string;
  readonly csv?: () => string;
}

/**
 * Prints the result and how it differs from the baseline, and writes the files that the flags name. Returns the exit
 * code, `code` where the baseline changes nothing.
 */
export function finishResult(
  result: FinishedResult,
  flags: ResultFlags,
  baseline: MeasuredResult | null,
  code: number,
): number {
  const comparison = baseline && compareResults([baseline, measuredResult("this run", result.report)]);
  if (flags.json) printJson(comparison ? { ...result.report, comparison } : result.report);
  else if (result.text) print(result.text());
  if (comparison && !flags.json) print(`\n${compareText(comparison, textOptions())}`);
  writeResultFiles(result, flags);
  if (!comparison || code === EXIT.interrupted) return code;
  const compared = comparisonExitCode(comparison, flags);
  return compared === EXIT.found || code === EXIT.done ? compared : code;
}

/** Writes the files that the flags name. */
export function writeResultFiles(result: Omit<FinishedResult, "text">, flags: ResultFlags): void {
  const { report, html, markdown, csv } = result;
  const sheet = () => resultSheet([measuredResult("this run", report)]);
  if (flags.output) writeWhole(flags.output, `${JSON.stringify(report, null, 2)}\n`);
  if (flags.html) writeWhole(flags.html, html?.() ?? sheetHtml(sheet()));
  if (flags.markdown) writeWhole(flags.markdown, markdown?.() ?? sheetMarkdown(sheet()));
  if (flags.csv) writeWhole(flags.csv, csv?.() ?? sheetCsv(sheet()));
}

/** 3 where --fail-on says so; 1 where nothing could be compared. */
export function comparisonExitCode(comparison: Comparison, { failOn }: ResultFlags): number {
  const { changes, same, changed } = comparison;
  const isFound = changes.some(({ kind, isWorse, effect }) => {
    if (kind !== "changed" || !failOn) return false;
    if (failOn.what === "change") return true;
    if (!isWorse) return false;
    const isRatio = effect?.kind === "ratio";
    // The end of the interval that is nearer to "no difference" must be beyond the limit.
    return !isRatio || effect.high < 1 - failOn.least || effect.low > 1 + failOn.least;
  });
  if (isFound) return EXIT.found;
  return same + changed > 0 ? EXIT.done : EXIT.failed;
}

function misuse(message: string): Error {
  return Object.assign(new TypeError(message), { code: "ERR_INVALID_ARGUMENT" });
}
