/** The picture of a fleet: kernels with the same answers share a column, and questions with different answers come first. */
import { COUNTED } from "../lab/experiment.ts";
import type { LabKernel } from "../lab/lab.ts";
import type { Cell, Row } from "./lab-table.ts";

/** From this number of kernels on, a column of its own for each would be no picture. */
const FEWEST_KERNELS = 13;
const MOST_RELEASES = 4;

/** Kernels that gave the same answers to all questions. */
export interface Fold {
  /** "212 kernels: 6.1.0, 6.12.4". */
  readonly title: string;
  readonly kernels: readonly LabKernel[];
}

/** A table with a column for each group; the cells are those of the group's first kernel, whose title is the group's. */
export interface FoldedTable {
  readonly rows: readonly Row[];
  readonly folds: readonly Fold[];
}

/** Null for a table that is small enough as it is. */
export function foldKernels(rows: readonly Row[]): FoldedTable | null {
  const kernels = rows[0]?.cells.map(({ kernel }) => kernel) ?? [];
  if (kernels.length < FEWEST_KERNELS) return null;
  const groups = groupColumns(rows).sort((one, other) => other.length - one.length);
  const folds = groups.map((group) => foldOf(group.map((at) => kernels[at]!)));
  const folded = rows.map((row) => ({
    ...row,
    cells: groups.map(([at], column) => {
      const cell = row.cells[at!]!;
      return { ...cell, kernel: { ...cell.kernel, id: folds[column]!.title, environment: null } };
    }),
  }));
  const differing = folded.filter(({ cells }) => countAnswers(cells) > 1);
  return { rows: [...differing, ...folded.filter((row) => !differing.includes(row))], folds };
}

/** Groups the indexes of columns whose cells are all the same. */
export function groupColumns(rows: readonly Row[]): number[][] {
  const groups = new Map<string, number[]>();
  const width = rows[0]?.cells.length ?? 0;
  for (let at = 0; at < width; at++) {
    const key = JSON.stringify(rows.map(({ cells }) => comparedWords(cells[at]!)));
    const group = groups.get(key);
    if (group) group.push(at);
    else groups.set(key, [at]);
  }
  return [...groups.values()];
}

/** A figure differs in every run, and does not keep kernels from sharing a column. */
export function comparedWords({ finding, words }: Cell): string {
  return finding?.answer === COUNTED ? "see the figures" : words;
}

/** How many answers a question has; a kernel that was not asked gave none. */
function countAnswers(cells: readonly Cell[]): number {
  return new Set(cells.flatMap((cell) => (cell.finding ? [comparedWords(cell)] : []))).size;
}

function foldOf(kernels: readonly LabKernel[]): Fold {
  const releases = [
    ...new Set(kernels.map(({ environment }) => environment?.upstream ?? "no answer")),
  ].sort();
  const more = releases.length - MOST_RELEASES;
  const shown = [...releases.slice(0, MOST_RELEASES), ...(more > 0 ? [`${more} other releases`] : [])];
  const count = kernels.length === 1 ? kernels[0]!.id : `${kernels.length} kernels`;
  return { title: `${count}: ${shown.join(", ")}`, kernels };
}
