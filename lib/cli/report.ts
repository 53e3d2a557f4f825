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
    .action((first: string, second: string, _: unknown, self: Command) => {
      const comparison = compareLabs(readResult(first), readResult(second));
      const isJson = self.optsWithGlobals<ReportFlags>().json;
      if (isJson) printJson(comparison);
      else print(compareText(comparison, textOptions()));
    });
  return command.addCommand(compare);
}

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
