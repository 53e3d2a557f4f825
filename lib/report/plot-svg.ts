/** Plots samples as static SVG that needs no script and fits any colour scheme and paper. */
import type { Samples } from "../lab/experiment.ts";
import { quantile } from "../loop/statistics.ts";
import { escapeMarkup } from "./escape.ts";
import type { Axis } from "./plot-frame.ts";
import {
  BOTTOM,
  frame,
  HEIGHT,
  LEFT,
  niceCeiling,
  PERCENT_AXIS,
  point,
  RIGHT,
  scaleX,
  scaleY,
  svg,
  WIDTH,
} from "./plot-frame.ts";

/** Sizes of the plot of rounds: each name above its dots, axis below. It is as wide as a phone. */
const ROUNDS = { width: 420, edge: 32, row: 38, axis: 40 };
/** Longer steps are jumps; one bar counts them all. */
const BARS_UP_TO = 20;
const STEP_TICKS = [0, 4, 8, 12, 16, 20].map((value) => ({
  value,
  text: value === BARS_UP_TO ? `${value}+` : String(value),
}));

/**
 * One figure, with a label for readers who cannot see it. `row` has the samples of all figures in the same
 * row, because they share their axes. `peerPort` is marked in a walk, and the self-connects, which have that port.
 */
export function plotSvg(
  { plot, unit, values }: Samples,
  title: string,
  row: readonly Samples[],
  peerPort: number | null = null,
): string {
  if (values.length === 0) return "";
  const drawn =
    plot === "walk" ? walk(values, unit, row, peerPort) : { distribution, steps }[plot](values, unit, row);
  const label = `${title}: ${drawn.label}`;
  return svg("plot", WIDTH, HEIGHT, label, `<title>${escapeMarkup(label)}</title>${drawn.body}`);
}

/** One line of a plot of rounds. */
export interface RoundsLine {
  readonly name: string;
  readonly values: readonly number[];
  readonly median: number;
  /** Whether its median is drawn in the colour of this package. */
  readonly isOurs: boolean;
}

/** One line per cell on a logarithmic axis: a dot per round, and a larger one for the median. */
export function roundsSvg(lines: readonly RoundsLine[], unit: string): string {
  if (lines.length === 0) return "";
  const { width, edge, row, axis } = ROUNDS;
  const [low, high] = decadesAround(lines.flatMap(({ values }) => values));
  const x = (value: number) => {
    const share = (Math.log10(value) - low) / (high - low);
    return (edge + share * (width - 2 * edge)).toFixed(1);
  };
  const height = lines.length * row + axis;
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => {
    const value = 10 ** (low + i);
    const rule = `<line class="rule" x1="${x(value)}" x2="${x(value)}" y1="0" y2="${height - axis}"/>`;
    const label = value.toLocaleString("en-US");
    return `${rule}<text x="${x(value)}" y="${height - axis + 15}" text-anchor="middle">${label}</text>`;
  });
  const body = [
    "",
    ...ticks,
    ...lines.map((line, i) => roundsLine(line, i * row, x)),
    `<text x="${width / 2}" y="${height - 6}" text-anchor="middle">${escapeMarkup(unit)}, logarithmic</text>`,
    "",
  ];
  return svg("rounds", width, height, `${unit}, logarithmic`, body.join("\n"));
}

function roundsLine(
  { name, values, median, isOurs }: RoundsLine,
  y: number,
  x: (value: number) => string,
): string {
  const at = y + 24;
  const dots = values.map((value) => `<circle class="round" cx="${x(value)}" cy="${at}" r="3"/>`);
  const middle = `<circle class="${isOurs ? "ours" : "median"}" cx="${x(median)}" cy="${at}" r="5"/>`;
  return `<text class="name" x="0" y="${y + 12}">${escapeMarkup(name)}</text>${dots.join("")}${middle}`;
}

/** The powers of ten around all values. */
function decadesAround(values: readonly number[]): [low: number, high: number] {
  const low = Math.floor(Math.log10(Math.min(...values)));
  return [low, Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))];
}

/** The share of samples at or below each value. */
function distribution(values: readonly number[], unit: string, row: readonly Samples[]) {
  const sorted = [...values].sort((a, b) => a - b);
  const x = { low: 0, high: niceCeiling(highest(row)) };
  const y = PERCENT_AXIS;
  const points = sorted.flatMap((value, i) => [
    point(value, i / sorted.length, x, y),
    point(value, (i + 1) / sorted.length, x, y),
  ]);
  const line = `<polyline class="line" points="${[point(0, 0, x, y), ...points, point(x.high, 1, x, y)].join(" ")}"/>`;
  const median = quantile(sorted, 0.5);
  const label = `share of ${sorted.length} trials by number of ${unit}; median ${Math.round(median)}`;
  return { body: frame(x, y, unit, "share of trials") + line, label };
}

/** How often each step was taken; the last bar counts all longer steps. */
function steps(values: readonly number[], unit: string, row: readonly Samples[]) {
  const counts = barsOf(values);
  const x = { low: 0, high: BARS_UP_TO + 0.5, ticks: STEP_TICKS };
  const most = Math.max(...row.flatMap((samples) => [...barsOf(samples.values).values()]));
  const y = { low: 0, high: niceCeiling(most) };
  const width = ((WIDTH - LEFT - RIGHT) / (x.high - x.low)) * 0.8;
  const bars = [...counts].map(([step, count]) => {
    const left = (scaleX(step, x) - width / 2).toFixed(1);
    const top = scaleY(count, y);
    const height = (HEIGHT - BOTTOM - top).toFixed(1);
    const tip = `step ${step}${step === BARS_UP_TO ? " and more" : ""}: ${count} times`;
    const box = `x="${left}" y="${top.toFixed(1)}" width="${width.toFixed(1)}" height="${height}"`;
    return `<rect class="bar" ${box}><title>${tip}</title></rect>`;
  });
  const common = [...counts].sort((a, b) => b[1] - a[1])[0]![0];
  const label = `how often each step in ${unit} was taken, ${values.length} steps in all; the most common is ${common}`;
  return { body: frame(x, y, `step, ${unit}`, "times") + bars.join(""), label };
}

function barsOf(values: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const value of values) {
    const bar = value > 0 ? Math.min(value, BARS_UP_TO) : BARS_UP_TO;
    counts.set(bar, (counts.get(bar) ?? 0) + 1);
  }
  return counts;
}

function highest(row: readonly Samples[]): number {
  return Math.max(...row.flatMap((samples) => samples.values));
}

/** The ports in the order in which the kernel picked them. */
function walk(values: readonly number[], unit: string, row: readonly Samples[], peerPort: number | null) {
  const x = { low: 0, high: Math.max(...row.map((samples) => samples.values.length)) };
  const lowest = Math.min(...row.flatMap((samples) => samples.values));
  const y = { low: lowest, high: highest(row) + 1, isPort: true };
  const dots = values.map((value, i) => {
    const [cx, cy] = [scaleX(i, x).toFixed(1), scaleY(value, y).toFixed(1)];
    if (value !== peerPort) return `<circle class="dot" cx="${cx}" cy="${cy}" r="1.3"/>`;
    const tip = `<title>self-connect, attempt ${i + 1}</title>`;
    return `<circle class="dot joined" cx="${cx}" cy="${cy}" r="4">${tip}</circle>`;
  });
  const reach = `from ${Math.min(...values)} to ${Math.max(...values)}`;
  const label = `the local ${unit} of ${values.length} attempts in order, ${reach}`;
  return { body: frame(x, y, "attempt", unit) + peerLine(peerPort, y) + dots.join(""), label };
}

/** A line at the peer's port: a dot on it is a self-connect. */
function peerLine(peerPort: number | null, y: Axis): string {
  if (peerPort === null || peerPort < y.low || peerPort > y.high) return "";
  const top = scaleY(peerPort, y).toFixed(1);
  const text = `<text x="${WIDTH - RIGHT}" y="${Number(top) - 3}" text-anchor="end">peer ${peerPort}</text>`;
  return `<path class="peer" d="M${LEFT} ${top}H${WIDTH - RIGHT}"/>${text}`;
}
