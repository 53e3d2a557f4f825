/** Lab results as CSV (RFC 4180): one line for each count of each cell. */
import type { LabResult } from "../lab/lab.ts";
import { escapeCsv } from "./escape.ts";

const HEADER = [
  "kernel",
  "machine",
  "upstream",
  "experiment",
  "status",
  "answer",
  "expected",
  "count",
  "value",
];

/** The counts of a lab as CSV: one line for each count of each cell. */
export function labCsv(result: LabResult): string {
  const kernels = new Map(result.kernels.map((kernel) => [kernel.id, kernel]));
  const lines = result.findings.flatMap((finding) => {
    const kernel = kernels.get(finding.kernel);
    const cell = [
      finding.kernel,
      kernel?.machine ?? "",
      kernel?.environment?.upstream ?? "",
      finding.experiment,
      finding.status,
      finding.answer ?? finding.note ?? "",
      finding.expected ?? "",
    ];
    const counts = Object.entries({ ...finding.counts, elapsedMs: finding.elapsedMs });
    return counts.map(([name, value]) => [...cell, name, String(value)]);
  });
  return [HEADER, ...lines].map((line) => `${line.map(escapeCsv).join(",")}\r\n`).join("");
}
