/** Results as CSV (RFC 4180): one line for each count of each cell. */
import type { LabResult } from "../lab/lab.ts";

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
  return [HEADER, ...lines].map((line) => `${line.map(field).join(",")}\r\n`).join("");
}

/** A spreadsheet would run a field that begins like a formula: an apostrophe makes it text. */
function field(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
