/** selfconnect report: renders results in other formats, and compares them. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { writeWhole } from "../audit/whole-file.ts";
import type { LabResult } from "../lab/index.ts";
import type { Sheet } from "../report/index.ts";
import {
  compareResults,
  compareText,
  comparisonSheet,
  labCsv,
  labHtml,
  labMarkdown,
  labText,
  mergeLabs,
  parseLabResult,
  resultSheet,
  sheetCsv,
  sheetHtml,
  sheetMarkdown,
  sheetText,
} from "../report/index.ts";
import { print, printJson, textOptions } from "./output.ts";
import type { ResultFlags } from "./result-files.ts";
import { addFileOptions, comparisonExitCode, failOnOption, readResult } from "./result-files.ts";

const FILES = {
  html: "write one HTML file",
  markdown: "write Markdown",
  csv: "write the counts and samples as CSV",
};

export function reportCommand(): Command {
  const command = new Command("report")
    .description(
      "Renders results of the commands that measure: bench, reconnect, ports, predict, lab, audit and trace. Several " +
        "files become one table.",
    )
    .argument("<files...>", "results, as --output of these commands writes them");
  addFileOptions(command, FILES)
    .option("--json", "print one object (docs/schema/report-1.json; of labs alone lab-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action((files: string[], flags: ResultFlags) => renderFiles(files, flags));
  return command.addCommand(compareCommand());
}

function compareCommand(): Command {
  const compare = new Command("compare")
    .summary("print what changed between results, and how certain that is")
    .description(
      "Compares results of one command with the first of them: rates by the ratio of their medians and a " +
        "Mann-Whitney test, trials by a Kolmogorov-Smirnov test, shares by a test of two shares, answers by their " +
        "words. Results of another processor, kernel or setting are compared, and it is said.",
    )
    .argument("<files...>", "two results or more");
  return addFileOptions(compare, FILES)
    .addOption(failOnOption())
    .option("--json", "print one object (docs/schema/compare-1.json)")
    .addHelpText("after", `\n${COMPARE_EXAMPLES}`)
    .action((files: string[], _: unknown, self: Command) => {
      process.exitCode = compareFiles(files, self.optsWithGlobals<ResultFlags>());
    });
}

const EXAMPLES = `Examples:
  selfconnect report monday.json                       the table, in the terminal
  selfconnect report monday.json --html lab.html       as a page
  selfconnect report one.json other.json --markdown kernels.md   one table of both
  selfconnect report compare monday.json friday.json   what has changed`;

const COMPARE_EXAMPLES = `Examples:
  selfconnect report compare monday.json friday.json   what has changed, and how certain that is
  selfconnect report compare before.json after.json --html changes.html   as a page
  selfconnect report compare before.json after.json --fail-on worse=5%   for CI: exits with 3
  selfconnect report compare 6.1.json 6.12.json --json   as an object`;

/** Labs alone are merged into one lab; results of other commands share tables. */
function renderFiles(files: readonly string[], flags: ResultFlags): void {
  const results = files.map(readResult);
  if (results.every(({ kind }) => kind === "lab")) {
    const merged = mergeLabs(files.map((file) => parseLabResult(readFileSync(file, "utf8"))));
    writeReports(merged, flags);
    printUnlessWritten(flags, merged, () => labText(merged, textOptions()));
    return;
  }
  const sheet = resultSheet(results);
  writeSheet(sheet, flags);
  printUnlessWritten(flags, { schema: "selfconnect.report/1", results }, () =>
    sheetText(sheet, textOptions()),
  );
}

function compareFiles(files: readonly string[], flags: ResultFlags): number {
  const comparison = compareResults(files.map(readResult));
  writeSheet(comparisonSheet(comparison), flags);
  printUnlessWritten(flags, comparison, () => compareText(comparison, textOptions()));
  return comparisonExitCode(comparison, flags);
}

function printUnlessWritten(
  { html, markdown, csv, json }: ResultFlags,
  object: object,
  write: () => string,
): void {
  if (json) printJson(object);
  else if (!html && !markdown && !csv) print(write());
}

function writeSheet(sheet: Sheet, { html, markdown, csv }: ResultFlags): void {
  if (html) writeWhole(html, sheetHtml(sheet));
  if (markdown) writeWhole(markdown, sheetMarkdown(sheet));
  if (csv) writeWhole(csv, sheetCsv(sheet));
}

/** Writes the files of a lab that the flags name. */
function writeReports(result: LabResult, { html, markdown, csv }: ResultFlags): void {
  if (html) writeWhole(html, labHtml(result));
  if (markdown) writeWhole(markdown, labMarkdown(result));
  if (csv) writeWhole(csv, labCsv(result));
}
