/** Merges several lab results into one; kernels of the same name are told apart by the time of their lab. */
import type { LabResult } from "../lab/lab.ts";

/** Merges at least one result. A kernel whose name is taken gets a number and the start of its lab. */
export function mergeLabs(results: readonly LabResult[]): LabResult {
  const [first, ...others] = results;
  if (!first) throw new Error("there are no results to merge");
  return others.reduce(mergePair, first);
}

function mergePair(one: LabResult, other: LabResult): LabResult {
  const taken = new Set(one.kernels.map(({ id }) => id));
  const rename = (id: string) => (taken.has(id) ? freeName(id, taken, other.startedAt) : id);
  const questions = new Set(one.experiments.map(({ name }) => name));
  return {
    ...one,
    endedAt: other.endedAt,
    experiments: [...one.experiments, ...other.experiments.filter(({ name }) => !questions.has(name))],
    kernels: [...one.kernels, ...other.kernels.map((kernel) => ({ ...kernel, id: rename(kernel.id) }))],
    findings: [
      ...one.findings,
      ...other.findings.map((finding) => ({ ...finding, kernel: rename(finding.kernel) })),
    ],
  };
}

function freeName(id: string, taken: ReadonlySet<string>, startedAt: string): string {
  const time = startedAt.slice(0, "2026-11-26T06:44".length).replace("T", " ");
  const named = (count: number) => `${id} (${count}, of ${time})`;
  let count = 2;
  while (taken.has(named(count))) count++;
  return named(count);
}
