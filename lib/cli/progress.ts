/** A lab's progress: one line per kernel. A pure function. */
import type { LabResult } from "../lab/index.ts";
import { renderText, tableLines } from "../report/terminal.ts";

/** The experiment that runs now, by its kernel. */
export type Asking = ReadonlyMap<string, string>;

/** Kernel, state, cells done, note; `titles` are the machines in the order in which they are asked. */
export function progressLines(titles: readonly string[], result: LabResult, asking: Asking): string[] {
  const rows = titles.map((title) => progressOf(title, result, asking));
  return renderText(tableLines(rows, "llll")).split("\n");
}

function progressOf(title: string, result: LabResult, asking: Asking): string[] {
  const asked = result.experiments.map(({ name }) => name);
  const findings = result.findings.filter(
    ({ kernel, experiment }) => kernel === title && asked.includes(experiment),
  );
  const cells = `${findings.length}/${asked.length}`;
  const kernel = result.kernels.find(({ id }) => id === title);
  if (kernel?.missing) return [title, "not here", "", kernel.missing];
  if (findings.length === asked.length) return [title, "done", cells, noteOf(findings)];
  const experiment = asking.get(title);
  if (experiment) return [title, "running", cells, experiment];
  return [title, kernel ? "booting" : "waiting", kernel ? cells : "", ""];
}

function noteOf(findings: LabResult["findings"]): string {
  const unlike = findings.filter(({ isAsExpected }) => isAsExpected === false).length;
  const unanswered = findings.filter(({ status }) => status === "died" || status === "failed").length;
  const parts = [
    unlike > 0 && `${unlike} not as expected`,
    unanswered > 0 && `${unanswered} without an answer`,
  ];
  return parts.filter((part) => typeof part === "string").join(", ");
}
