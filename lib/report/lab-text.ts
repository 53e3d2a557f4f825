/** Lab results for a terminal: each question with its answers and their kernels. */
import type { LabResult } from "../lab/lab.ts";
import type { Row } from "./lab-table.ts";
import { contradictions, kernelTitle, rowsOfResult } from "./lab-table.ts";
import { WAITS_ABOUT, WAITS_TITLE, waitsTable } from "./lab-waits.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, renderText, tableLines } from "./terminal.ts";

/** A lab for a terminal. */
export function labText(result: LabResult, options: TextOptions = {}): string {
  const rows = rowsOfResult(result);
  const missing = result.kernels.flatMap(({ id, missing }) =>
    missing ? [`${id} could not run: ${missing}`] : [],
  );
  const lines = [...contradictionLines(rows), ...rows.flatMap(rowLines), ...waitsLines(result), ...missing];
  return renderText(lines, options);
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
