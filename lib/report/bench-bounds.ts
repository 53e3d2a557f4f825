/** Bounds of one's own for the rows of a benchmark: `selfconnect bench --expect FILE`. */
import { invalidArgument, nearest } from "../socket/misuse.ts";
import type { BenchReport, BenchRow } from "./bench.ts";

type Bound = NonNullable<BenchRow["bound"]>;
/** The bound of each row, by its text. */
export type BenchBounds = ReadonlyMap<string, Bound>;

const KINDS = { atLeast: "at least", atMost: "at most" } as const;
const FORM = '{"a row": {"atLeast": 0.9}, "another": {"atMost": 5}}';

/**
 * Parses a file's text: an object with one bound, `atLeast` or `atMost`, for each row's text. Throws
 * ERR_INVALID_EXPECTATION, which names `file` and the value that is wrong.
 */
export function parseBenchBounds(file: string, json: string): BenchBounds {
  const rows = parseObject(file, json);
  const bounds = Object.entries(rows).map(([what, bound]) => [what, parseBound(file, what, bound)] as const);
  if (bounds.length === 0) throw refusal(file, `it names no row; write ${FORM}`);
  return new Map(bounds);
}

function parseObject(file: string, json: string): object {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw refusal(file, (error as Error).message);
  }
  if (isObject(value)) return value;
  throw refusal(file, `${JSON.stringify(value)} is no object of rows; write ${FORM}`);
}

function parseBound(file: string, what: string, bound: unknown): Bound {
  const [[key, value] = [], ...more] = isObject(bound) ? Object.entries(bound) : [];
  const kind = KINDS[key as keyof typeof KINDS];
  if (kind && more.length === 0 && typeof value === "number" && value >= 0) return { kind, value };
  const wrong = JSON.stringify(bound);
  throw refusal(file, `"${what}": ${wrong} is no bound; write {"atLeast": 0.9} or {"atMost": 5}`);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Throws ERR_INVALID_EXPECTATION where a bound names none of the rows. */
export function checkBenchBounds(file: string, bounds: BenchBounds, rows: readonly string[]): void {
  for (const what of bounds.keys()) {
    if (rows.includes(what)) continue;
    const meant = nearest(what, rows);
    const hint = meant ? `did you mean "${meant}"?` : `the rows are: ${rows.join("; ")}`;
    throw refusal(file, `"${what}" is not a row of this run: ${hint}`);
  }
}

/** The report with these bounds and no others, and the verdicts that follow from them. */
export function applyBenchBounds(report: BenchReport, bounds: BenchBounds): BenchReport {
  return { ...report, rows: report.rows.map((row) => applyBound(row, bounds.get(row.what) ?? null)) };
}

function applyBound(row: BenchRow, bound: Bound | null): BenchRow {
  if (row.value === null) return { ...row, bound };
  if (!bound) return { ...row, bound, verdict: "reported", because: null };
  const isReached = bound.kind === "at least" ? row.value >= bound.value : row.value <= bound.value;
  return { ...row, bound, verdict: isReached ? "reached" : "missed", because: null };
}

function refusal(file: string, why: string): Error {
  return invalidArgument("ERR_INVALID_EXPECTATION", `${file}: ${why}`);
}
