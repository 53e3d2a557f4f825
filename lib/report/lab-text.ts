/** Results for a terminal: each question with its answers, and who gave them. */
import type { LabResult } from "../lab/lab.ts";
import type { Row } from "./lab-table.ts";
import { contradictions, kernelTitle, rowsOfResult } from "./lab-table.ts";

export function labText(result: LabResult): string {
  const rows = rowsOfResult(result);
  const missing = result.kernels.flatMap(({ id, missing }) =>
    missing ? [`${id} could not be asked: ${missing}`] : [],
  );
  return [...contradictionLines(rows), ...rows.flatMap(rowLines), ...missing].map(printable).join("\n");
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
  const lines = [...answers].map(([words, kernels]) => `  ${words}\n      ${kernels.join(", ")}`);
  return [`${name}: ${question}`, ...lines, ""];
}

/** What a guest said is text, not commands to a terminal. */
function printable(words: string): string {
  return words.replaceAll(/(?!\n)\p{Cc}/gu, "?");
}
