/** Plots for a terminal: braille dots, two by four per character, and bars. */
import { count } from "./numbers.ts";

const DOT_COLUMNS = 2;
const DOT_ROWS = 4;
/** The bit of each dot in Unicode's braille patterns, by row, left and right. */
const DOTS = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;
const BRAILLE = 0x2800;

/** A dot of a plot, in the units of its axes. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** What the two axes show. */
export interface PlotLabels {
  readonly x: string;
  readonly y: string;
}

/** A dot plot with axes, as lines of text. Each axis goes from the least to the greatest value; `mark` is labelled. */
export function dotPlot(
  points: readonly Point[],
  labels: PlotLabels,
  mark: number | null = null,
  columns = 64,
  rows = 12,
): string[] {
  if (points.length === 0) return [];
  const xs = boundsOf(points.map((point) => point.x));
  const ys = boundsOf(points.map((point) => point.y));
  const cells = new Uint8Array(columns * rows);
  for (const { x, y } of points) {
    const column = scaleTo(x, xs, columns * DOT_COLUMNS);
    const row = rows * DOT_ROWS - 1 - scaleTo(y, ys, rows * DOT_ROWS);
    const cell = Math.floor(row / DOT_ROWS) * columns + Math.floor(column / DOT_COLUMNS);
    cells[cell]! |= DOTS[row % DOT_ROWS]![column % DOT_COLUMNS]!;
  }
  const margin = Math.max(...[ys.low, ys.high].map((value) => axisText(value).length));
  const isMarked = mark !== null && mark >= ys.low && mark <= ys.high;
  const markedRow = isMarked ? rows - 1 - Math.floor(scaleTo(mark, ys, rows * DOT_ROWS) / DOT_ROWS) : -1;
  const lines = Array.from({ length: rows }, (_, row) => {
    const value = row === 0 ? ys.high : row === rows - 1 ? ys.low : row === markedRow ? mark : null;
    const label = value === null ? "" : axisText(value);
    const dots = cells.subarray(row * columns, (row + 1) * columns);
    const tick = row === markedRow ? "▶" : "┤";
    return `${label.padStart(margin)} ${tick}${String.fromCharCode(...Array.from(dots, (dot) => BRAILLE + dot))}`;
  });
  const [left, right] = [axisText(xs.low), `${axisText(xs.high)} ${labels.x}`];
  const between = Math.max(1, columns - left.length - right.length);
  return [labels.y, ...lines, `${" ".repeat(margin)}  ${left}${" ".repeat(between)}${right}`];
}

/** A bar plot, one line per bar: label, bar, number. */
export function barPlot(rows: readonly { label: string; value: number }[], columns = 40): string[] {
  const most = Math.max(...rows.map((row) => row.value));
  const margin = Math.max(...rows.map((row) => row.label.length));
  return rows.map(({ label, value }) => {
    const bar = "█".repeat(most > 0 ? Math.round((value / most) * columns) : 0);
    return `${label.padStart(margin)} ┤${bar} ${count(value)}`;
  });
}

function boundsOf(values: readonly number[]): { low: number; high: number } {
  const low = values.reduce((least, value) => Math.min(least, value), Infinity);
  const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
  return { low, high };
}

function scaleTo(value: number, { low, high }: { low: number; high: number }, size: number): number {
  return high === low ? 0 : Math.min(size - 1, Math.floor(((value - low) / (high - low)) * size));
}

function axisText(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(3);
}
