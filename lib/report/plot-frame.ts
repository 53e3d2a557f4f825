/** The frame of a plot: axes, grid, round ticks, names; and where a value is within it. */
import { escapeMarkup } from "./escape.ts";

/** A plot's own units: on a phone, one of them is about a pixel. */
export const WIDTH = 360;
export const HEIGHT = 200;
export const LEFT = 52;
export const RIGHT = 14;
export const TOP = 26;
export const BOTTOM = 40;
/** About so many ticks on an axis. */
const TICKS = 4;

/** The values at the ends of an axis, and where its ticks are when they are not the round numbers between. */
export interface Axis {
  readonly low: number;
  readonly high: number;
  /** A logarithmic axis needs ticks of its own. */
  readonly isLogarithmic?: boolean;
  readonly ticks?: readonly { readonly value: number; readonly text: string }[];
  /** Ports are names and have no thousands separators, which all other numbers have. */
  readonly isPort?: boolean;
}

/** An axis of shares. */
export const PERCENT_AXIS: Axis = {
  low: 0,
  high: 1,
  ticks: [0, 0.25, 0.5, 0.75, 1].map((value) => ({ value, text: `${value * 100} %` })),
};

/** An SVG with a label for readers who cannot see it. */
export function svg(kind: string, width: number, height: number, label: string, body: string): string {
  const box = `viewBox="0 0 ${width} ${height}"`;
  return `<svg class="${kind}" ${box} role="img" aria-label="${escapeMarkup(label)}">${body}</svg>`;
}

/** Axes, grid and ticks, and the names of both axes with their units. */
export function frame(x: Axis, y: Axis, xName: string, yName: string): string {
  const floor = HEIGHT - BOTTOM;
  const lines = [`<path class="axis" d="M${LEFT} ${TOP}V${floor}H${WIDTH - RIGHT}"/>`];
  for (const { value, text } of ticksOf(y)) {
    const top = scaleY(value, y).toFixed(1);
    lines.push(`<path class="grid" d="M${LEFT} ${top}H${WIDTH - RIGHT}"/>`);
    lines.push(`<text x="${LEFT - 5}" y="${Number(top) + 4}" text-anchor="end">${escapeMarkup(text)}</text>`);
  }
  for (const { value, text } of ticksOf(x)) {
    const left = scaleX(value, x).toFixed(1);
    lines.push(`<path class="grid" d="M${left} ${floor}v4"/>`);
    // A number in the middle of its tick would be cut off at the right edge.
    const anchor = Number(left) > WIDTH - RIGHT - 12 ? "end" : "middle";
    const at = anchor === "end" ? WIDTH - 2 : left;
    lines.push(`<text x="${at}" y="${floor + 16}" text-anchor="${anchor}">${escapeMarkup(text)}</text>`);
  }
  const middle = LEFT + (WIDTH - LEFT - RIGHT) / 2;
  lines.push(`<text x="${middle}" y="${HEIGHT - 6}" text-anchor="middle">${escapeMarkup(xName)}</text>`);
  lines.push(`<text x="4" y="${TOP - 12}">${escapeMarkup(yName)}</text>`);
  return lines.join("");
}

/** The multiples of 1, 2, 2.5 or 5 times a power of ten in an axis, unless it has ticks of its own. */
function ticksOf({ low, high, ticks, isPort = false }: Axis): readonly { value: number; text: string }[] {
  if (ticks) return ticks;
  const least = (high - low || 1) / (TICKS + 1);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= least)! * power;
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, index) => {
    const value = Number(((first + index) * step).toPrecision(12));
    return { value, text: isPort ? String(value) : value.toLocaleString("en-US") };
  });
}

/** "x,y" of a value, for points="". */
export function point(x: number, y: number, xAxis: Axis, yAxis: Axis): string {
  return `${scaleX(x, xAxis).toFixed(1)},${scaleY(y, yAxis).toFixed(1)}`;
}

/** Where a value is from the left. */
export function scaleX(value: number, axis: Axis): number {
  return LEFT + shareOf(value, axis) * (WIDTH - LEFT - RIGHT);
}

/** Where a value is from the top. */
export function scaleY(value: number, axis: Axis): number {
  return HEIGHT - BOTTOM - shareOf(value, axis) * (HEIGHT - TOP - BOTTOM);
}

function shareOf(value: number, { low, high, isLogarithmic = false }: Axis): number {
  if (!isLogarithmic) return (value - low) / (high - low || 1);
  const share = (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low) || 1);
  // Math.log of V8's versions differs in the last bit, and a picture must not.
  return Number(share.toFixed(9));
}

/** Rounds up to 1, 2, 4, 5, 8 or 10 times a power of ten, whose quarters are short numbers. */
export function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  const factor = [1, 2, 4, 8, 10].find((one) => one * power >= value) ?? 10;
  return Math.max(4, factor * power);
}
