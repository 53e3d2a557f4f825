/** Compares results of one kind, row by row: what changed, by how much, and how certain that is. */
import type { TestResult } from "../loop/statistics.ts";
import type { Effect } from "../loop/two-samples.ts";
import { compareMedians, compareShares, kolmogorovTest, mannWhitneyTest } from "../loop/two-samples.ts";
import { invalidArgument } from "../socket/misuse.ts";
import type { MeasuredResult, ResultHost, ResultKind } from "./result.ts";
import type { ResultRow } from "./result-rows.ts";

/** One row of the first result and of another. */
export interface Change {
  /** Which of the results it is that is compared with the first: 1 is the second. */
  readonly result: number;
  /** Whose row it is, where a result has several: a kernel of a lab. */
  readonly subject: string | null;
  /** What was measured. */
  readonly name: string;
  /** Its unit; "" of an answer. */
  readonly unit: string;
  /** "uncertain" where too little was measured for any difference to be certain. */
  readonly kind: "same" | "changed" | "only-first" | "only-second" | "unanswered" | "uncertain";
  /** The figure or answer of the first result; null without one. */
  readonly first: number | string | null;
  /** The figure or answer of the other result; null without one. */
  readonly second: number | string | null;
  /** Why one of them is missing; null where none is. */
  readonly whyNone: string | null;
  /** How far they are from one another, with its interval; null for what was not measured several times. */
  readonly effect: Effect | null;
  /** The test by which they differ or do not; null where none is needed. */
  readonly test: "Mann-Whitney" | "Kolmogorov-Smirnov" | "two shares" | "intervals" | null;
  /** The p-value of the test: the probability of such a difference by chance; null without one. */
  readonly chance: number | null;
  /** Whether the other result is the worse one; null where nothing changed, and where neither is better. */
  readonly isWorse: boolean | null;
}

/** The object of docs/schema/compare-1.json. */
export interface Comparison {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.compare/1";
  /** The command that made the results. */
  readonly kind: ResultKind;
  /** The results; all are compared with the first. */
  readonly results: readonly { readonly from: string; readonly host: ResultHost | null }[];
  /** What makes them hard to compare: another processor, kernel, or setting. */
  readonly remarks: readonly string[];
  /** One for each row of the first result and of each other one. */
  readonly changes: readonly Change[];
  /** How many rows are the same. */
  readonly same: number;
  /** How many rows have certainly changed. */
  readonly changed: number;
}

/** Below this p-value a difference is certain: of a thousand rows in which nothing changed about one is below. */
export const UNLIKELY = 0.001;
/** Figures that are computed, not measured, may differ in their last digits. */
const ROUNDING = 1e-9;

/** Compares at least two results of one kind with the first of them. Throws ERR_INVALID_ARGUMENT for other ones. */
export function compareResults(results: readonly MeasuredResult[]): Comparison {
  const [first, ...others] = results;
  if (!first || others.length === 0) {
    throw invalidArgument(
      "ERR_INVALID_ARGUMENT",
      `a comparison needs two results or more, not ${results.length}`,
    );
  }
  for (const other of others) checkKind(first, other);
  const changes = others.flatMap((other, index) => compareRows(first, other, index + 1));
  return {
    schema: "selfconnect.compare/1",
    kind: first.kind,
    results: results.map(({ from, host }) => ({ from, host })),
    remarks: others.flatMap((other) => remarksOf(first, other)),
    changes,
    same: changes.filter(({ kind }) => kind === "same").length,
    changed: changes.filter(({ kind }) => kind === "changed").length,
  };
}

function checkKind(first: MeasuredResult, other: MeasuredResult): void {
  if (first.kind === other.kind) return;
  const which = `${first.from} is a result of ${first.kind}, ${other.from} of ${other.kind}`;
  throw invalidArgument("ERR_INVALID_ARGUMENT", `${which}: compare results of one command`);
}

function remarksOf(first: MeasuredResult, other: MeasuredResult): string[] {
  const facts: [what: string, one: string | undefined, another: string | undefined][] = [
    ["processor", processorOf(first), processorOf(other)],
    ["kernel", first.host?.kernel, other.host?.kernel],
    ["version of Node", first.host?.node, other.host?.node],
    ["version of selfconnect", first.host?.version, other.host?.version],
    ...Object.keys(first.settings).map((name): [string, string | undefined, string | undefined] => [
      name,
      first.settings[name],
      other.settings[name],
    ]),
  ];
  return facts
    .filter(([, one, another]) => one !== another)
    .map(
      ([what, one, another]) =>
        `${other.from}: another ${what}: ${another ?? "unknown"}, not ${one ?? "unknown"}`,
    );
}

/** What a rate depends on most: "x64, 2 of AMD EPYC". */
export function processorOf({ host }: MeasuredResult): string | undefined {
  return host ? `${host.architecture}, ${host.cpus} of ${host.processor || "an unknown model"}` : undefined;
}

function compareRows(first: MeasuredResult, other: MeasuredResult, result: number): Change[] {
  const isOne = [first, other].every(({ rows }) => new Set(rows.map(({ subject }) => subject)).size === 1);
  const [ours, theirs] = [keyRows(first.rows, isOne), keyRows(other.rows, isOne)];
  const keys = [...new Set([...ours.keys(), ...theirs.keys()])];
  return keys.map((key) => changeOf(ours.get(key), theirs.get(key), result));
}

/** Results with one kernel each are compared with one another, whatever the kernels are called. */
function keyRows(rows: readonly ResultRow[], isOne: boolean): Map<string, ResultRow> {
  return new Map(rows.map((row) => [isOne ? row.name : `${row.subject ?? ""}\n${row.name}`, row]));
}

function changeOf(first: ResultRow | undefined, second: ResultRow | undefined, result: number): Change {
  const row = (first ?? second)!;
  const about = {
    result,
    subject: row.subject,
    name: row.name,
    unit: row.unit,
    first: first?.value ?? null,
    second: second?.value ?? null,
    whyNone: first?.whyNone ?? second?.whyNone ?? null,
  };
  const untested = { ...about, effect: null, test: null, chance: null, isWorse: null };
  if (!first || !second) return { ...untested, kind: first ? "only-first" : "only-second" };
  if (first.unit !== second.unit)
    return { ...untested, kind: "unanswered", whyNone: `in ${second.unit} there` };
  const isMissing = first.value === null || second.value === null;
  const isNeither = first.value === null && second.value === null;
  if (isNeither && first.whyNone === null) return { ...untested, kind: "same" };
  if (isMissing) return { ...untested, kind: "unanswered" };
  const { kind, effect = null, test = null, chance = null } = COMPARISONS[first.compareBy](first, second);
  const isMore = effect ? effect.value > (effect.kind === "ratio" ? 1 : 0) : first.value! < second.value!;
  const isJudged = kind === "changed" && first.better !== null;
  return {
    ...about,
    kind,
    effect,
    test,
    chance,
    isWorse: isJudged ? isMore !== (first.better === "more") : null,
  };
}

type Verdict = Pick<Change, "kind"> & Partial<Pick<Change, "effect" | "test" | "chance">>;

const COMPARISONS: Readonly<
  Record<ResultRow["compareBy"], (first: ResultRow, second: ResultRow) => Verdict>
> = {
  equality: ({ value: one }, { value: other }) => ({ kind: isEqual(one, other) ? "same" : "changed" }),
  intervals: compareIntervals,
  rates: (first, second) => compareSamples("Mann-Whitney", "ratio", first, second),
  trials: (first, second) => compareSamples("Kolmogorov-Smirnov", "difference", first, second),
  shares(first, second) {
    const [one, other] = [first, second].map(({ value, of }) => [Number(value), of!] as const);
    if (one![1] === 0 || other![1] === 0) return { kind: "uncertain" };
    const { test, effect } = compareShares(one!, other!);
    const attainable = compareShares([0, one![1]], [other![1], other![1]]).test.p;
    return { kind: kindOf(test.p, attainable), effect, test: "two shares", chance: test.p };
  },
};

function isEqual(one: ResultRow["value"], other: ResultRow["value"]): boolean {
  if (typeof one !== "number" || typeof other !== "number") return one === other;
  return Math.abs(one - other) <= ROUNDING * Math.max(Math.abs(one), Math.abs(other));
}

/** Figures differ where their intervals have nothing in common. Without intervals nobody can know. */
function compareIntervals(first: ResultRow, second: ResultRow): Verdict {
  if (first.low === null || second.low === null) {
    return { kind: isEqual(first.value, second.value) ? "same" : "uncertain" };
  }
  const isApart = first.high! < second.low || second.high! < first.low;
  return { kind: isApart ? "changed" : "same", test: "intervals" };
}

const TESTS = { "Mann-Whitney": mannWhitneyTest, "Kolmogorov-Smirnov": kolmogorovTest } as const;

function compareSamples(
  test: keyof typeof TESTS,
  kind: Effect["kind"],
  { samples: one }: ResultRow,
  { samples: other }: ResultRow,
): Verdict {
  if (one.length === 0 || other.length === 0) return { kind: "uncertain" };
  const { p } = TESTS[test](one, other);
  const attainable = attainableChance(TESTS[test], one.length, other.length);
  const isRatio = kind === "ratio" && [one, other].every((all) => all.every((sample) => sample > 0));
  const effect = compareMedians(isRatio ? "ratio" : "difference", one, other);
  return { kind: kindOf(p, attainable), effect, test, chance: p };
}

/** The p-value of samples of these sizes that have nothing in common: no samples can have a smaller one. */
function attainableChance(
  test: (one: readonly number[], other: readonly number[]) => TestResult,
  one: number,
  other: number,
): number {
  const all = Array.from({ length: one + other }, (_, index) => index);
  return test(all.slice(0, one), all.slice(one)).p;
}

function kindOf(chance: number, attainable: number): Change["kind"] {
  if (chance < UNLIKELY) return "changed";
  return attainable < UNLIKELY ? "same" : "uncertain";
}
