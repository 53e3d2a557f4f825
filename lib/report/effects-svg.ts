/** Ratios with their intervals as one static picture: a line each, on an axis with one in the middle. */
import type { Effect } from "../loop/two-samples.ts";
import { escapeMarkup } from "./escape.ts";
import { ratio } from "./numbers.ts";
import { svg } from "./plot-frame.ts";

interface EffectLine {
  readonly name: string;
  readonly effect: Effect | null;
  readonly isWorse: boolean;
}

/** As wide as a phone: each name above its interval, the axis below. */
const SIZE = { width: 420, edge: 24, row: 36, axis: 38 };
/** More lines than this are a table. */
const MOST_LINES = 60;
/** The axis shows at least a tenth less and more. */
const LEAST_SPREAD = 1.1;

/** Draws the ratios among the lines; "" where there are none, and where there are too many for a picture. */
export function effectsSvg(lines: readonly EffectLine[]): string {
  const ratios = lines.flatMap(({ effect, ...line }) =>
    effect?.kind === "ratio" ? [{ ...line, effect }] : [],
  );
  if (ratios.length === 0 || ratios.length > MOST_LINES) return "";
  const { width, edge, row, axis } = SIZE;
  const ends = ratios.flatMap(({ effect: { low, high } }) => [low, 1 / low, high, 1 / high]);
  const spread = Math.log(Math.max(LEAST_SPREAD, ...ends));
  const x = (value: number) => (width / 2 + (Math.log(value) / spread) * (width / 2 - edge)).toFixed(1);
  const bottom = ratios.length * row;
  const ticks = [Math.exp(-spread), 1, Math.exp(spread)].map((value) => {
    const kind = value === 1 ? "one" : "rule";
    const rule = `<line class="${kind}" x1="${x(value)}" x2="${x(value)}" y1="0" y2="${bottom}"/>`;
    return `${rule}<text x="${x(value)}" y="${bottom + 14}" text-anchor="middle">× ${ratio(value)}</text>`;
  });
  const marks = ratios.map(({ name, effect, isWorse }, index) => {
    const at = index * row + 24;
    const span = `<line class="span" x1="${x(effect.low)}" x2="${x(effect.high)}" y1="${at}" y2="${at}"/>`;
    const middle = `<circle class="middle" cx="${x(effect.value)}" cy="${at}" r="4"/>`;
    const title = `<text class="name" x="0" y="${index * row + 12}">${escapeMarkup(name)}</text>`;
    return `<g${isWorse ? ' class="worse"' : ""}>${title}${span}${middle}</g>`;
  });
  const caption = "the other result by the first, with 95 % intervals; red is worse";
  const label = `<text x="${width / 2}" y="${bottom + 32}" text-anchor="middle">${caption}</text>`;
  return svg("effects", width, bottom + axis, caption, [...ticks, ...marks, label].join("\n"));
}
