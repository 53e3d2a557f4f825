/** Lab results as Markdown: contradictions, then one table where kernels with the same answers share a column. */
import type { LabResult } from "../lab/lab.ts";
import { escapeMarkdown } from "./escape.ts";
import type { Fold } from "./lab-fold.ts";
import { comparedWords, foldKernels, groupColumns } from "./lab-fold.ts";
import type { Cell, Row } from "./lab-table.ts";
import { contradictions, kernelTitle, rowsOfResult } from "./lab-table.ts";
import { WAITS_ABOUT, WAITS_TITLE, waitsTable } from "./lab-waits.ts";
import { markdownTable } from "./markdown.ts";

/** A lab as one Markdown table. */
export function labMarkdown(result: LabResult): string {
  const all = rowsOfResult(result);
  const folded = foldKernels(all);
  const rows = folded?.rows ?? all;
  const columns = groupColumns(rows);
  const titles = columns.map((group) =>
    group.map((at) => kernelTitle(rows[0]!.cells[at]!.kernel)).join(", "),
  );
  const lines = [
    "# The same questions to many kernels",
    "",
    ...about(result),
    "",
    ...contradictionLines(rows),
    "",
    "Kernels with the same answers share a column. ≠ differs from most of its row; ✗ contradicts what was",
    "expected of this kernel.",
    "",
    ...markdownTable(
      ["question", ...titles],
      rows.map((row) => [questionText(row), ...columns.map(([at]) => cellText(row.cells[at!]!))]),
    ),
    "",
    ...(folded ? foldLines(folded.folds) : [...waitsLines(result), ...figureLines(result, rows)]),
    ...missingLines(result),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

function about({ startedAt, endedAt, command, version, commit, trials }: LabResult): string[] {
  const ended = endedAt ? `to ${endedAt}` : "and not finished yet";
  const from = commit ? `, commit ${commit.slice(0, 12)}` : "";
  return [
    `Made by \`${command || "selfconnect lab"}\``,
    `(selfconnect ${version}${from}; ${trials} trials of each random experiment),`,
    `from ${startedAt} ${ended}.`,
  ];
}

function contradictionLines(rows: readonly Row[]): string[] {
  const found = contradictions(rows);
  if (found.length === 0) return ["No finding contradicts what was expected."];
  const lines = found.map(({ row, cell }) => {
    const { answer = "", expected } = cell.finding!;
    const [got, due] = [answer, expected ?? ""].map(escapeMarkdown);
    return `- ${kernelTitle(cell.kernel)}, ${row.name}: **${got}**, expected ${due}`;
  });
  return ["## Contradictions", "", ...lines];
}

/** The kernels behind each column. */
function foldLines(folds: readonly Fold[]): string[] {
  const lines = folds.map(({ title, kernels }) => {
    return `- **${escapeMarkdown(title)}:** ${kernels.map(({ id }) => escapeMarkdown(id)).join(", ")}`;
  });
  return ["## Kernels", "", ...lines, ""];
}

function waitsLines(result: LabResult): string[] {
  const table = waitsTable(result);
  return table
    ? [`## ${WAITS_TITLE}`, "", WAITS_ABOUT, "", ...markdownTable(table.head, table.rows), ""]
    : [];
}

/** The figures that differ from run to run, one line per kernel. */
function figureLines(result: LabResult, rows: readonly Row[]): string[] {
  const measured = rows.filter(({ cells }) => cells.some(({ finding }) => finding?.figure));
  if (measured.length === 0) return [];
  const lines = result.kernels.map((kernel, at) => {
    const emulated = kernel.isEmulated ? " (emulated)" : "";
    return [kernelTitle(kernel) + emulated, ...measured.map(({ cells }) => cells[at]!.finding?.figure ?? "")];
  });
  return ["## Figures", "", ...markdownTable(["kernel", ...measured.map(({ name }) => name)], lines), ""];
}

function missingLines({ kernels }: LabResult): string[] {
  return kernels.flatMap(({ id, missing }) =>
    missing ? [`- ${escapeMarkdown(`${id} could not run: ${missing}`)}`] : [],
  );
}

function questionText({ name, question }: Row): string {
  return `**${name}** ${question}`;
}

function cellText(cell: Cell): string {
  const { differs, contradicts } = cell;
  return `${contradicts ? "✗ " : differs ? "≠ " : ""}${comparedWords(cell)}`;
}
