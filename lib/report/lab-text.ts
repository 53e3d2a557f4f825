/** Lab results for a terminal: each question with its answers and their kernels. */
import type { LabResult } from "../lab/lab.ts";
import type { Row } from "./lab-table.ts";
import { contradictions, kernelTitle, rowsOfResult } from "./lab-table.ts";
import type { TextOptions } from "./terminal.ts";
import { renderText } from "./terminal.ts";

/** A lab for a terminal. */
export function labText(result: LabResult, options: TextOptions = {}): string {
  const rows = rowsOfResult(result);
  const missing = result.kernels.flatMap(({ id, missing }) =>
    missing ? [`${id} could not run: ${missing}`] : [],
  );
  return renderText([...contradictionLines(rows), ...rows.flatMap(rowLines), ...missing], options);
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
