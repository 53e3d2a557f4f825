/** How many trials took how many attempts, beside the exact distribution: for every format. */
import type { Wait } from "../ports/model.ts";
import { escapeMarkup } from "./escape.ts";
import { count } from "./numbers.ts";
import type { Axis } from "./plot-frame.ts";
import { BOTTOM, frame, HEIGHT, niceCeiling, scaleX, scaleY, svg, WIDTH } from "./plot-frame.ts";
import { barPlot } from "./plot-text.ts";

/** One bar: trials that took so many attempts. */
export interface HistogramBar {
  /** The fewest attempts of the bar. */
  readonly from: number;
  /** The most attempts of the bar. */
  readonly to: number;
  /** How many trials took so many. */
  readonly trials: number;
  /** How many are expected by the exact distribution; null where none applies. */
  readonly expected: number | null;
}

const BARS = 10;

/** Ten bars of equal width up to the longest trial; none for no trial. */
export function histogramOf(attempts: readonly number[], wait: Wait | null): HistogramBar[] {
  if (attempts.length === 0) return [];
  const most = Math.max(...attempts);
  const width = Math.max(1, niceCeiling(most) / BARS);
  return Array.from({ length: Math.ceil(most / width) }, (_, bar) => {
    const [from, to] = [Math.round(bar * width) + 1, Math.round((bar + 1) * width)];
    const trials = attempts.filter((made) => made >= from && made <= to).length;
    const share = wait && wait.cdf(to) - wait.cdf(from - 1);
    return { from, to, trials, expected: share === null ? null : share * attempts.length };
  });
}

/** The bars for a terminal. */
export function histogramLines(bars: readonly HistogramBar[]): string[] {
  const rows = bars.map(({ from, to, trials }) => ({
    label: `${count(from)} to ${count(to)}`,
    value: trials,
  }));
  return barPlot(rows, 30).map((line, at) => {
    const { expected } = bars[at]!;
    return expected === null ? line : `${line} (${expected.toFixed(1)} expected)`;
  });
}

/** The bars as a picture; a line across each is what is expected. */
export function histogramSvg(bars: readonly HistogramBar[]): string {
  if (bars.length === 0) return "";
  const x: Axis = { low: 0, high: bars.at(-1)!.to };
  const most = Math.max(...bars.flatMap(({ trials, expected }) => [trials, expected ?? 0]));
  const y: Axis = { low: 0, high: niceCeiling(most) };
  const marks = bars.map(({ from, to, trials, expected }) => {
    const [left, right] = [scaleX(from - 1, x) + 1, scaleX(to, x) - 1];
    const top = scaleY(trials, y);
    const tip = `${count(from)} to ${count(to)} attempts: ${trials} trials`;
    const [width, height] = [right - left, HEIGHT - BOTTOM - top].map((size) => size.toFixed(1));
    const box = `x="${left.toFixed(1)}" y="${top.toFixed(1)}" width="${width}" height="${height}"`;
    const bar = `<rect class="bar" ${box}><title>${escapeMarkup(tip)}</title></rect>`;
    if (expected === null) return bar;
    const at = scaleY(expected, y).toFixed(1);
    return `${bar}<path class="expected" d="M${left.toFixed(1)} ${at}H${right.toFixed(1)}"/>`;
  });
  const longest = count(bars.at(-1)!.to);
  const label = `trials by their number of attempts, ${bars.length} bars, the longest trial within ${longest}`;
  return svg(
    "plot",
    WIDTH,
    HEIGHT,
    label,
    frame(x, y, "attempts until the self-connect", "trials") + marks.join(""),
  );
}
