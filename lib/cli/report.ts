/** selfconnect report: renders results in other formats, and compares two of them. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { writeWhole } from "../audit/whole-file.ts";
import type { LabResult } from "../lab/index.ts";
import {
  compareLabs,
  compareText,
  labCsv,
  labHtml,
  labMarkdown,
  labText,
  mergeLabs,
  parseLabResult,
} from "../report/index.ts";
import { print, printJson, textOptions } from "./output.ts";

interface ReportFlags {
  readonly html?: string;
  readonly markdown?: string;
  readonly csv?: string;
  readonly json?: boolean;
}

export function reportCommand(): Command {
  const command = new Command("report")
    .description("Renders results of `selfconnect lab`. Several files become one table.")
    .argument("<files...>", "results, as `selfconnect lab --output` writes them")
    .option("--html <file>", "write one HTML file")
    .option("--markdown <file>", "write a Markdown table")
    .option("--csv <file>", "write the counts as CSV")
    .option("--json", "print one object (docs/schema/lab-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action((files: string[], flags: ReportFlags) => {
      const result = mergeLabs(files.map(readResult));
      writeReports(result, flags);
      if (flags.json) printJson(result);
      else if (!flags.html && !flags.markdown && !flags.csv) print(labText(result, textOptions()));
    });
  const compare = new Command("compare")
    .summary("print what changed between two results, and how certain that is")
    .argument("<first>", "results")
    .argument("<second>", "results")
    .option("--json", "print one object (docs/schema/compare-1.json)")
    .addHelpText("after", `\n${COMPARE_EXAMPLES}`)
    .action((first: string, second: string, _: unknown, self: Command) => {
      const comparison = compareLabs(readResult(first), readResult(second));
      const isJson = self.optsWithGlobals<ReportFlags>().json;
      if (isJson) printJson(comparison);
      else print(compareText(comparison, textOptions()));
    });
  return command.addCommand(compare);
}

const EXAMPLES = `Examples:
  selfconnect report monday.json                       the table, in the terminal
  selfconnect report monday.json --html lab.html       as a page
  selfconnect report one.json other.json --markdown kernels.md   one table of both
  selfconnect report compare monday.json friday.json   what has changed`;

const COMPARE_EXAMPLES = `Examples:
  selfconnect report compare monday.json friday.json   what has changed, and how certain that is
  selfconnect report compare before.json after.json --json   as an object
  selfconnect report compare 6.1.json 6.12.json > changes.txt   for a change log`;

/** Writes the files that the flags name. */
export function writeReports(result: LabResult, { html, markdown, csv }: ReportFlags): void {
  if (html) writeWhole(html, labHtml(result));
  if (markdown) writeWhole(markdown, labMarkdown(result));
  if (csv) writeWhole(csv, labCsv(result));
}

function readResult(file: string): LabResult {
  try {
    return parseLabResult(readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`);
  }
}
