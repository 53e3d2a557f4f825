/** Lab results as a table that every format renders: questions as rows, kernels as columns. */
import { COUNTED } from "../lab/experiment.ts";
import type { Finding, LabKernel, LabResult } from "../lab/lab.ts";

export interface Cell {
  readonly kernel: LabKernel;
  readonly finding: Finding | null;
  /** The answer, or why it is missing. */
  readonly words: string;
  /** Whether the answer differs from most of its row. */
  readonly differs: boolean;
  /** Whether the answer is not the expected one. */
  readonly contradicts: boolean;
}

export interface Row {
  readonly name: string;
  readonly question: string;
  readonly cells: readonly Cell[];
}

export function rowsOfResult(result: LabResult): Row[] {
  const cells = new Map(
    result.findings.map((finding) => [`${finding.kernel}\n${finding.experiment}`, finding]),
  );
  return result.experiments.map(({ name, question }) => {
    const row = result.kernels.map((kernel) => ({
      kernel,
      finding: cells.get(`${kernel.id}\n${name}`) ?? null,
    }));
    const most = findMostCommon(row.flatMap(({ finding }) => finding?.answer ?? []));
    return { name, question, cells: row.map((cell) => ({ ...cell, ...marksOf(cell, most) })) };
  });
}

/** The findings that are not as expected; every format shows them first. */
export function contradictions(rows: readonly Row[]): { row: Row; cell: Cell }[] {
  return rows.flatMap((row) =>
    row.cells.filter(({ contradicts }) => contradicts).map((cell) => ({ row, cell })),
  );
}

/**
 * The title of a column, "qemu 6.1.176 (reports 6.1.0)" or "web-1: 6.1.176", from what the kernel has reported; and from
 * its name what tells it apart from an equal one of another file: "(2, of 2026-11-26 06:44)".
 */
export function kernelTitle(kernel: LabKernel): string {
  const { environment, machine, sysctls = {} } = kernel;
  if (!environment) return kernel.id;
  const settings = Object.entries(sysctls).map(([name, value]) => ` ${name.split(".").at(-1)}=${value}`);
  const set = [...settings, / \(\d+, of [^)]+\)$/.exec(kernel.id)?.[0] ?? ""];
  if (machine === "worker") return `${kernel.id}: ${environment.upstream}`;
  if (machine === "gvisor") return `gvisor (reports ${environment.kernel})${set.join("")}`;
  // The name of another host is a part of its id, which ends before what the lab has set there.
  const name = machine === "ssh" ? kernel.id.split(" ")[0]! : machine;
  return `${name} ${environment.upstream}${set.join("")}`;
}

function marksOf(
  { kernel, finding }: { kernel: LabKernel; finding: Finding | null },
  most: string | null,
): Pick<Cell, "words" | "differs" | "contradicts"> {
  return {
    words: finding ? wordsOf(finding, kernel) : kernel.missing ? "not here" : "not asked",
    differs: finding?.answer !== undefined && finding.answer !== most,
    contradicts: finding?.isAsExpected === false,
  };
}

function wordsOf(finding: Finding, { isEmulated }: LabKernel): string {
  if (finding.answer === COUNTED) return `${finding.figure}${isEmulated ? ", emulated" : ""}`;
  if (finding.status === "answered") return finding.answer ?? "";
  const kinds = { failed: "failed", died: "died", "not-here": "not here" };
  return `${kinds[finding.status]}: ${finding.note ?? "no reason given"}`;
}

function findMostCommon(words: readonly string[]): string | null {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? null;
}
