/** Lab results for a terminal: each question with its answers and their kernels. */
import type { LabKernel, LabResult } from "../lab/lab.ts";
import { foldKernels } from "./lab-fold.ts";
import type { Row } from "./lab-table.ts";
import { contradictions, kernelTitle, rowsOfResult } from "./lab-table.ts";
import type { TextOptions } from "./terminal.ts";
import { renderText } from "./terminal.ts";

/** A lab for a terminal. */
export function labText(result: LabResult, options: TextOptions = {}): string {
  const all = rowsOfResult(result);
  const folded = foldKernels(all);
  const rows = folded?.rows ?? all;
  const missing = result.kernels.flatMap(({ id, machine, missing }) =>
    missing ? [`${id} could not ${machine === "worker" ? "be asked" : "run"}: ${missing}`] : [],
  );
  const hosts = (folded?.folds ?? []).flatMap(({ title, kernels }) => [title, `  ${namesOf(kernels)}`]);
  return renderText([...contradictionLines(rows), ...rows.flatMap(rowLines), ...hosts, ...missing], options);
}

const MOST_NAMES = 20;

function namesOf(kernels: readonly LabKernel[]): string {
  const more = kernels.length - MOST_NAMES;
  const names = kernels.slice(0, MOST_NAMES).map(({ id }) => id);
  return [...names, ...(more > 0 ? [`and ${more} more`] : [])].join(", ");
}

function contradictionLines(rows: readonly Row[]): string[] {
  const lines = contradictions(rows).map(({ row, cell }) => {
    const { answer, expected } = cell.finding!;
    return `  ${kernelTitle(cell.kernel)}, ${row.name}: ${answer}; expected ${expected}`;
  });
  return lines.length > 0 ? ["contradictions", ...lines, ""] : [];
}

function rowLines({ name, question, cells }: Row): string[] {
  const answers = new Map<string, string[]>();
  for (const { words, kernel } of cells)
    answers.set(words, [...(answers.get(words) ?? []), kernelTitle(kernel)]);
  const lines = [...answers].flatMap(([words, kernels]) => [`  ${words}`, `      ${kernels.join(", ")}`]);
  return [`${name}: ${question}`, ...lines, ""];
}
