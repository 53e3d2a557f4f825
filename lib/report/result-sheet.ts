/** Results of one command or of several as tables: a row for what was measured, a column for each result. */
import { bytes, count, duration, ratio } from "./numbers.ts";
import type { MeasuredResult, ResultKind } from "./result.ts";
import { hostText } from "./result.ts";
import type { ResultRow } from "./result-rows.ts";
import type { Sheet, SheetSection } from "./sheet.ts";

const TITLES: Readonly<Record<ResultKind, string>> = {
  bench: "Benchmark",
  reconnect: "Reconnecting until joined to itself",
  ports: "How a host picks local ports",
  "ports-read": "How the hosts of a capture pick local ports",
  predict: "How long until a self-connect",
  lab: "The same questions to many kernels",
  audit: "Listeners at risk",
  trace: "One self-connect, packet by packet",
};

/** Results as a sheet: those of one command share a table. */
export function resultSheet(results: readonly MeasuredResult[]): Sheet {
  const kinds = [...new Set(results.map(({ kind }) => kind))];
  return {
    title: kinds.length === 1 ? TITLES[kinds[0]!] : "Results",
    about: results.map(aboutResult),
    sections: kinds.map((kind) =>
      sectionOf(
        kind,
        results.filter((one) => one.kind === kind),
      ),
    ),
    end: "",
    csv: [CSV_HEAD, ...results.flatMap(csvLines)],
  };
}

/** "monday.json: Linux 6.18.44 x64, 2 CPUs; strategy fresh". */
export function aboutResult(result: MeasuredResult): string {
  const settings = Object.entries(result.settings).map(([name, value]) => `${name} ${value}`);
  return `${result.from}: ${[hostText(result), ...settings].filter(Boolean).join("; ")}`;
}

function sectionOf(kind: ResultKind, results: readonly MeasuredResult[]): SheetSection {
  const tables = results.map(({ rows }) => new Map(rows.map((row) => [titleOf(row), row])));
  const names = [...new Set(tables.flatMap((table) => [...table.keys()]))];
  const cellOf = (row: ResultRow | undefined) => (row ? valueText(row) : "");
  return {
    title: TITLES[kind],
    head: ["what", ...results.map(({ from }) => from)],
    rows: names.map((name) => [name, ...tables.map((table) => cellOf(table.get(name)))]),
    picture: "",
    isDetail: false,
  };
}

/** "qemu 6.1.1: parity". */
export function titleOf({ subject, name }: Pick<ResultRow, "subject" | "name">): string {
  return subject === null ? name : `${subject}: ${name}`;
}

/** A row's figure or answer, with its interval, or why there is none. */
function valueText({ value, whyNone, unit, low, high, samples, of }: ResultRow): string {
  if (value === null) return whyNone ?? "none";
  if (of !== null) return `${count(Number(value))} of ${count(of)} ${unit}`;
  const figure = figureText(value, unit);
  if (low !== null && high !== null) return `${figure} (${endText(low, unit)} to ${endText(high, unit)})`;
  if (samples.length < 2) return figure;
  const ends = [samples.reduce(least), samples.reduce(greatest)].map((end) => endText(end, unit));
  return `${figure}, median of ${count(samples.length)} (${ends.join(" to ")})`;
}

function least(one: number, other: number): number {
  return Math.min(one, other);
}

function greatest(one: number, other: number): number {
  return Math.max(one, other);
}

/** The end of an interval; its unit stands before it where that is a word. */
function endText(value: number, unit: string): string {
  return figureText(value, unit).replace(` ${unit}`, "");
}

/** A figure in its unit: "13,712/s", "4.1 s", "1.2 MiB", "9,384 attempts". */
export function figureText(value: number | string | null, unit: string): string {
  if (typeof value !== "number") return value ?? "none";
  if (unit === "per second") return `${count(value)}/s`;
  if (unit === "milliseconds") return duration(value);
  if (unit === "bytes") return bytes(value);
  if (unit === "ratio") return ratio(value);
  if (unit === "port") return String(value);
  return unit === "" ? count(value) : `${count(value)} ${unit}`;
}

const CSV_HEAD = ["result", "kernel", "subject", "name", "unit", "sample", "value", "low", "high"];

/** A line for each row, and one for each of its samples. */
function csvLines({ from, host, rows }: MeasuredResult): string[][] {
  return rows.flatMap((row) => {
    const about = [from, host?.kernel ?? "", row.subject ?? "", row.name, row.unit];
    const ends = [row.low, row.high].map((end) => (end === null ? "" : String(end)));
    const samples = row.samples.map((sample, index) => [...about, String(index + 1), String(sample), "", ""]);
    return [[...about, "", String(row.value ?? ""), ...ends], ...samples];
  });
}
