/** Lab results for a terminal: each question with its answers and their kernels. */
import type { LabKernel, LabResult } from "../lab/lab.ts";
import type { Fold } from "./lab-fold.ts";
import { foldKernels } from "./lab-fold.ts";
import type { Row } from "./lab-table.ts";
import { contradictions, kernelTitle, rowsOfResult } from "./lab-table.ts";
import { WAITS_ABOUT, WAITS_TITLE, waitsTable } from "./lab-waits.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, renderText, tableLines } from "./terminal.ts";

/** A lab for a terminal. */
export function labText(result: LabResult, options: TextOptions = {}): string {
  const all = rowsOfResult(result);
  const folded = foldKernels(all);
  const rows = folded?.rows ?? all;
  const missing = result.kernels.flatMap(({ id, machine, missing }) =>
    missing ? [`${id} could not ${machine === "worker" ? "be asked" : "run"}: ${missing}`] : [],
  );
  const lines = [
    ...contradictionLines(rows),
    ...rows.flatMap(rowLines),
    ...(folded ? foldLines(folded.folds) : waitsLines(result)),
    ...missing,
  ];
  return renderText(lines, options);
}

const MOST_NAMES = 20;

/** The kernels behind each column. */
function foldLines(folds: readonly Fold[]): Line[] {
  return folds.flatMap(({ title, kernels }) => [title, `  ${namesOf(kernels)}`]);
}

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

function waitsLines(result: LabResult): Line[] {
  const table = waitsTable(result);
  if (!table) return [];
  // A kernel's lines are its own: a terminal is too narrow for a column each.
  const lines = table.head.slice(1).flatMap((kernel, at) => {
    const rows = table.rows.map((row) => [row[0]!, row[at + 1]!]).filter(([, words]) => words !== "");
    return [kernel, ...indent("  ", tableLines(rows, "ll")), ""];
  });
  return [`${WAITS_TITLE}. ${WAITS_ABOUT}`, "", ...lines];
}

function rowLines({ name, question, cells }: Row): string[] {
  const answers = new Map<string, string[]>();
  for (const { words, kernel } of cells)
    answers.set(words, [...(answers.get(words) ?? []), kernelTitle(kernel)]);
  const lines = [...answers].flatMap(([words, kernels]) => [`  ${words}`, `      ${kernels.join(", ")}`]);
  return [`${name}: ${question}`, ...lines, ""];
}
