/** Compares two lab results: what changed, and how certain that is. */
import type { Finding, LabResult } from "../lab/lab.ts";
import { kolmogorovTail } from "../loop/statistics.ts";
import type { TextOptions } from "./terminal.ts";
import { renderText } from "./terminal.ts";

/** The comparison of one cell of two results. */
export interface Change {
  /** The kernel whose answers are compared. */
  readonly kernel: string;
  /** The question. */
  readonly experiment: string;
  /** Whether both results have an answer, and whether it is the same. */
  readonly kind: "same" | "changed" | "only-first" | "only-second" | "unanswered";
  /** The answer of the first result; null without one. */
  readonly first: string | null;
  /** The answer of the second result; null without one. */
  readonly second: string | null;
  /** The p-value of the two-sample Kolmogorov-Smirnov test; null without samples. */
  readonly chance: number | null;
}

/** The object of docs/schema/compare-1.json. */
export interface Comparison {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.compare/1";
  /** One for each kernel and question of either result. */
  readonly changes: readonly Change[];
  /** How many answers are the same. */
  readonly same: number;
  /** How many answers have changed. */
  readonly changed: number;
}

/** Below this p-value the samples of a cell count as different. */
export const UNLIKELY = 0.001;

/** The fewest samples for which distributions are compared. */
const FEWEST_SAMPLES = 5;

/** Compares two results cell by cell. */
export function compareLabs(first: LabResult, second: LabResult): Comparison {
  const [ours, theirs] = [cells(first), cells(second)];
  const keys = [...new Set([...ours.keys(), ...theirs.keys()])];
  const changes = keys.map((key) => changeOf(ours.get(key), theirs.get(key)));
  return {
    schema: "selfconnect.compare/1",
    changes,
    same: changes.filter(({ kind }) => kind === "same").length,
    changed: changes.filter(({ kind }) => kind === "changed").length,
  };
}

/** The comparison as text: the changes, first to second, then a summary line. */
export function compareText({ changes, same, changed }: Comparison, options: TextOptions = {}): string {
  const lines = changes
    .filter(({ kind }) => kind !== "same")
    .map(({ kernel, experiment, kind, first, second }) => {
      const words = kind === "changed" ? `${first} -> ${second}` : `${kind}: ${first ?? second}`;
      return `${kernel}, ${experiment}: ${words}`;
    });
  const shifted = changes.filter(({ chance }) => chance !== null && chance < UNLIKELY);
  const shifts = shifted.map(
    ({ kernel, experiment, chance }) =>
      `${kernel}, ${experiment}: its samples differ (p = ${chance!.toPrecision(2)})`,
  );
  const rest = changes.length - same - changed;
  const total = `${same} cells with the same answer, ${changed} with another, ${rest} not comparable`;
  return renderText([...lines, ...shifts, total], options);
}

function changeOf(first: Finding | undefined, second: Finding | undefined): Change {
  const { kernel, experiment } = (first ?? second)!;
  const about = { kernel, experiment, first: wordsOf(first), second: wordsOf(second) };
  if (!first) return { ...about, kind: "only-second", chance: null };
  if (!second) return { ...about, kind: "only-first", chance: null };
  const isAnswered = first.answer !== undefined && second.answer !== undefined;
  const kind = !isAnswered ? "unanswered" : first.answer === second.answer ? "same" : "changed";
  return { ...about, kind, chance: chanceOf(first, second) };
}

function wordsOf(finding: Finding | undefined): string | null {
  return finding ? (finding.answer ?? finding.note ?? finding.status) : null;
}

/** Compares only distributions and steps, because a walk's ports depend on where it began. */
function chanceOf(first: Finding, second: Finding): number | null {
  const [ours, theirs] = [first.samples, second.samples];
  if (!ours || !theirs || ours.plot === "walk" || ours.unit !== theirs.unit) return null;
  if (Math.min(ours.values.length, theirs.values.length) < FEWEST_SAMPLES) return null;
  return twoSampleTest(ours.values, theirs.values);
}

/** The asymptotic p-value of the two-sample Kolmogorov-Smirnov test (Press et al., Numerical Recipes, 14.3). */
export function twoSampleTest(one: readonly number[], other: readonly number[]): number {
  const [a, b] = [one, other].map((values) => [...values].sort((x, y) => x - y));
  const below = (sorted: readonly number[], limit: number) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]! <= limit) low = middle + 1;
      else high = middle;
    }
    return low / sorted.length;
  };
  const gap = Math.max(...[...a!, ...b!].map((value) => Math.abs(below(a!, value) - below(b!, value))));
  const size = Math.sqrt((a!.length * b!.length) / (a!.length + b!.length));
  const scaled = (size + 0.12 + 0.11 / size) * gap;
  return kolmogorovTail(scaled);
}

function cells(result: LabResult): Map<string, Finding> {
  return new Map(result.findings.map((finding) => [`${finding.kernel}\n${finding.experiment}`, finding]));
}
