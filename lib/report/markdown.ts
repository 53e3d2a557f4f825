/** Results as Markdown: one table, contradictions first. */
import type { LabResult } from "../lab/lab.ts";
import { contradictions, kernelTitle, rowsOfResult } from "./table.ts";

export function labMarkdown(result: LabResult): string {
  const rows = rowsOfResult(result);
  const titles = result.kernels.map(kernelTitle);
  const lines = [
    "# The same questions to many kernels",
    "",
    ...about(result),
    "",
    ...contradictionLines(rows),
    "",
    tableLine(["question", ...titles]),
    tableLine(["---", ...titles.map(() => "---")]),
    ...rows.map((row) => tableLine([`**${row.name}** ${row.question}`, ...row.cells.map(cellText)])),
    "",
    ...result.kernels.flatMap(({ id, missing }) =>
      missing ? [escaped(`${id} could not be asked: ${missing}`), ""] : [],
    ),
    "≠ differs from most of its row; ✗ contradicts what was expected of this kernel.",
  ];
  return `${lines.join("\n")}\n`;
}

function about({ startedAt, endedAt, command, version, commit, trials }: LabResult): string[] {
  const ended = endedAt ? `to ${endedAt}` : "and not at its end yet";
  const from = commit ? `, commit ${commit.slice(0, 12)}` : "";
  return [
    `Made by \`${command || "selfconnect lab"}\` (selfconnect ${version}${from}; ${trials} trials),`,
    `from ${startedAt} ${ended}.`,
  ];
}

function contradictionLines(rows: ReturnType<typeof rowsOfResult>): string[] {
  const found = contradictions(rows);
  if (found.length === 0) return ["No finding contradicts what was expected."];
  const lines = found.map(({ row, cell }) => {
    const { answer, expected } = cell.finding!;
    return `- ${kernelTitle(cell.kernel)}, ${row.name}: **${escaped(answer ?? "")}**, expected ${escaped(expected ?? "")}`;
  });
  return ["## Contradictions", "", ...lines];
}

function cellText(cell: ReturnType<typeof rowsOfResult>[number]["cells"][number]): string {
  const mark = cell.contradicts ? "✗ " : cell.differs ? "≠ " : "";
  const figure = cell.finding?.figure ? ` (${cell.finding.figure})` : "";
  const emulated = cell.finding?.experiment === "rate" && cell.kernel.isEmulated ? ", emulated" : "";
  return `${mark}${cell.words}${figure}${emulated}`;
}

function tableLine(cells: readonly string[]): string {
  return `| ${cells.map(escaped).join(" | ")} |`;
}

/** Text of a guest stays text: no cell ends, no tag and no link begins. */
function escaped(text: string): string {
  return text
    .replaceAll(/[\r\n]+/g, " ")
    .replaceAll(/[\\|<>[\]`]/g, (character) => (character === "`" ? character : `\\${character}`))
    .trim();
}
