/** Time to self-connect, kernel by kernel and strategy by strategy: the table and the two figures of one picture. */
import type { LabKernel, LabResult } from "../lab/lab.ts";
import type { Middle, Waits } from "../lab/waits.ts";
import { readWaits } from "../lab/waits.ts";
import { escapeMarkup } from "./escape.ts";
import { kernelTitle } from "./lab-table.ts";
import { count, duration } from "./numbers.ts";
import { figureHtml, scrollableTable } from "./page.ts";
import { svg, WIDTH } from "./plot-frame.ts";

export const WAITS_TITLE = "Time to self-connect";
/** What the table and the figures show, in one sentence. */
export const WAITS_ABOUT =
  "Medians, and the intervals that hold them with 95 % confidence. Each cold trial has a port of its own; " +
  "each chained one begins at the port on which the one before has ended.";

/** The rows of a figure: a heading for each strategy and start, and a line for each kernel. */
const FIGURE = { left: 112, right: 22, row: 13, heading: 17, axis: 34 };

interface KernelWaits {
  readonly kernel: LabKernel;
  readonly waits: readonly Waits[];
}

function waitsOf({ kernels, findings }: LabResult): KernelWaits[] {
  return kernels.flatMap((kernel) => {
    const found = findings.find(({ kernel: id, experiment }) => id === kernel.id && experiment === "waits");
    const waits = readWaits(found?.counts ?? {});
    return waits.length > 0 ? [{ kernel, waits }] : [];
  });
}

/** Rows of strategy and start, a column for each kernel; null where nobody was asked. */
export function waitsTable(result: LabResult): { head: string[]; rows: string[][] } | null {
  const all = waitsOf(result);
  if (all.length === 0) return null;
  return {
    head: ["strategy, start", ...all.map(({ kernel }) => kernelTitle(kernel))],
    rows: rowNames(all).map((name) => [
      name,
      ...all.map(({ waits }) => wordsOf(waits.find((one) => nameOf(one) === name))),
    ]),
  };
}

/** The section of the page; empty where nobody was asked. */
export function waitsSection(result: LabResult): string {
  const table = waitsTable(result);
  if (!table) return "";
  const all = waitsOf(result);
  const figures = [
    figureHtml("Attempts", waitsSvg(all, "attempts", "attempts")),
    figureHtml("Time", waitsSvg(all, "ms", "milliseconds")),
  ];
  return `
<section id="waits"><h2>${WAITS_TITLE}</h2><p class="dim">${escapeMarkup(WAITS_ABOUT)}</p>
${scrollableTable(WAITS_TITLE, table.head, table.rows)}
<div class="plots">${figures.join("\n")}</div></section>`;
}

const nameOf = ({ strategy, start }: Waits) => `${strategy}, ${start}`;

function rowNames(all: readonly KernelWaits[]): string[] {
  const longest = all.reduce((most, one) => (one.waits.length > most.waits.length ? one : most));
  return longest.waits.map(nameOf);
}

/** "276 (149–1,145); 21 ms (4.9–78)", or how many of the trials ended at all. */
function wordsOf(waits: Waits | undefined): string {
  if (!waits) return "";
  const { attempts, ms, joined, trials } = waits;
  if (!attempts || !ms) return joined === 0 ? "never" : `${joined} of ${trials} trials`;
  return `${middleText(attempts, count)}; ${middleText(ms, duration)}`;
}

function middleText({ median, low, high }: Middle, text: (value: number) => string): string {
  return low === high ? text(median) : `${text(median)} (${text(low)} to ${text(high)})`;
}

/** A dot for each median and a line for its interval, on a logarithmic axis. */
function waitsSvg(all: readonly KernelWaits[], of: "attempts" | "ms", unit: string): string {
  const names = rowNames(all).filter((name) => all.some((one) => middleOf(one, name, of)));
  const values = names.flatMap((name) => all.flatMap((one) => middleOf(one, name, of) ?? []));
  if (values.length === 0) return "";
  const [low, high] = decadesOf(values);
  const x = (value: number) => {
    const share = (Math.log10(value) - low) / (high - low);
    return (FIGURE.left + share * (WIDTH - FIGURE.left - FIGURE.right)).toFixed(1);
  };
  const lines: string[] = [];
  let y = 0;
  for (const name of names) {
    y += FIGURE.heading;
    lines.push(`<text x="0" y="${y - 4}" font-weight="600">${escapeMarkup(name)}</text>`);
    for (const one of all) {
      const middle = middleOf(one, name, of);
      if (!middle) continue;
      lines.push(lineOf(kernelTitle(one.kernel), middle, y, x));
      y += FIGURE.row;
    }
  }
  const label = `${unit} until a self-connect, by strategy and kernel: medians and their intervals; logarithmic`;
  return svg("plot", WIDTH, y + FIGURE.axis, label, [...axisOf(low, high, y, x, unit), ...lines].join("\n"));
}

function middleOf({ waits }: KernelWaits, name: string, of: "attempts" | "ms"): Middle | null {
  return waits.find((one) => nameOf(one) === name)?.[of] ?? null;
}

/** The powers of ten around all intervals. */
function decadesOf(values: readonly Middle[]): [low: number, high: number] {
  const low = Math.floor(Math.log10(Math.min(...values.map((one) => one.low))));
  return [low, Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values.map((one) => one.high)))))];
}

function axisOf(
  low: number,
  high: number,
  floor: number,
  x: (value: number) => string,
  unit: string,
): string[] {
  const ticks = Array.from({ length: high - low + 1 }, (_, at) => {
    const left = x(10 ** (low + at));
    const text = (10 ** (low + at)).toLocaleString("en-US");
    const name = `<text x="${left}" y="${floor + 14}" text-anchor="middle">${text}</text>`;
    return `<path class="grid" d="M${left} 0V${floor}"/>${name}`;
  });
  const middle = FIGURE.left + (WIDTH - FIGURE.left - FIGURE.right) / 2;
  return [...ticks, `<text x="${middle}" y="${floor + 30}" text-anchor="middle">${unit}, logarithmic</text>`];
}

function lineOf(
  kernel: string,
  { median, low, high }: Middle,
  y: number,
  x: (value: number) => string,
): string {
  const at = y + FIGURE.row / 2;
  const tip = `<title>${escapeMarkup(`${kernel}: ${middleText({ median, low, high }, count)}`)}</title>`;
  const dot = `<circle class="bar" cx="${x(median)}" cy="${at}" r="3">${tip}</circle>`;
  return `<text x="8" y="${at + 4}">${escapeMarkup(shorten(kernel))}</text>
<path class="line" d="M${x(low)} ${at}H${x(high)}"/>${dot}`;
}

/** The version of gVisor that it reports is of another kernel, and would not fit. */
function shorten(title: string): string {
  return title.replace(/ \(reports [^)]*\)$/, "").slice(0, 18);
}
