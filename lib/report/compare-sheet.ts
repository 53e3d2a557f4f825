/** A comparison as tables: what changed first, then what cannot be compared, then what is the same. */
import type { Change, Comparison } from "./compare.ts";
import { UNLIKELY } from "./compare.ts";
import { effectsSvg } from "./effects-svg.ts";
import { count, ratio } from "./numbers.ts";
import { figureText, titleOf } from "./result-sheet.ts";
import type { Sheet, SheetSection } from "./sheet.ts";
import { sheetText } from "./sheet.ts";
import type { TextOptions } from "./terminal.ts";

const SECTIONS: readonly [kind: Change["kind"], title: string][] = [
  ["changed", "Changed"],
  ["uncertain", "Too little was measured to tell"],
  ["unanswered", "Not answered"],
  ["only-first", "Only in the first"],
  ["only-second", "Not in the first"],
  ["same", "The same"],
];

/** A comparison as a sheet. */
export function comparisonSheet(comparison: Comparison): Sheet {
  const { kind, results, remarks, changes, same, changed } = comparison;
  const names = results.map(({ from }) => from);
  const others = changes.length - same - changed;
  return {
    title: `${kind}: ${names.slice(1).join(", ")} against ${names[0]}`,
    about: [...remarks, `Different means p below ${UNLIKELY}; intervals hold with 95 % confidence.`],
    sections: SECTIONS.map(([which, title]) => sectionOf(title, which, comparison)),
    end: `${count(same)} the same, ${count(changed)} changed, ${count(others)} not comparable`,
    csv: [CSV_HEAD, ...changes.map((change) => csvLine(change, names))],
  };
}

/** A comparison for a terminal. */
export function compareText(comparison: Comparison, options: TextOptions = {}): string {
  return sheetText(comparisonSheet(comparison), options);
}

function sectionOf(title: string, which: Change["kind"], { results, changes }: Comparison): SheetSection {
  const found = changes.filter(({ kind }) => kind === which);
  const isMany = results.length > 2;
  const rows = found.map((change) => {
    const { first, second, unit, whyNone } = change;
    const what = [titleOf(change), ...(isMany ? [results[change.result]!.from] : [])];
    const values = [first, second].map((value) => (value === null ? "" : figureText(value, unit)));
    return [...what, ...values, effectText(change), chanceText(change) || (whyNone ?? "")];
  });
  const second = isMany ? ["result", "value"] : [results[1]!.from];
  const [what, ...more] = isMany
    ? ["what", second[0]!, results[0]!.from, second[1]!]
    : ["what", results[0]!.from, ...second];
  const isTested = found.some(({ test }) => test !== null);
  const head = [what!, ...more, "difference", isTested ? "certainty" : "why"];
  const isUsed = head.map((_, column) => rows.some((row) => row[column] !== ""));
  const onlyUsed = (row: readonly string[]) => row.filter((_, column) => isUsed[column]);
  return {
    title,
    head: onlyUsed(head),
    rows: rows.map(onlyUsed),
    picture: which === "changed" || which === "same" ? effectsSvg(found.map(effectLine)) : "",
    isDetail: which === "same",
  };
}

function effectLine(change: Change): Parameters<typeof effectsSvg>[0][number] {
  return { name: titleOf(change), effect: change.effect, isWorse: change.isWorse === true };
}

/** "× 1.17 (1.15 to 1.19), better", "+1,200 (-300 to +2,700)", "+12 % (+3 % to +20 %)". */
function effectText({ effect, test, isWorse }: Change): string {
  const verdict = isWorse === null ? "" : isWorse ? ", worse" : ", better";
  if (!effect) return verdict.slice(2);
  const show = effect.kind === "ratio" ? ratio : test === "two shares" ? signedPercent : signed;
  const times = effect.kind === "ratio" ? "× " : "";
  return `${times}${show(effect.value)} (${show(effect.low)} to ${show(effect.high)})${verdict}`;
}

function signed(value: number): string {
  return `${value > 0 ? "+" : ""}${count(value)}`;
}

function signedPercent(value: number): string {
  return `${value > 0 ? "+" : ""}${(value * 100).toFixed(1)} %`;
}

function chanceText({ test, chance, kind }: Change): string {
  if (chance !== null) return `p = ${chance.toPrecision(2)}`;
  return test === "intervals" && kind === "changed" ? "their intervals have nothing in common" : "";
}

const CSV_HEAD = [
  ...["result", "subject", "name", "unit", "kind", "first", "second", "effect", "value", "low", "high"],
  ...["test", "p", "worse"],
];

function csvLine(change: Change, names: readonly string[]): string[] {
  const { effect } = change;
  const values = [
    ...[
      names[change.result],
      change.subject,
      change.name,
      change.unit,
      change.kind,
      change.first,
      change.second,
    ],
    ...[effect?.kind, effect?.value, effect?.low, effect?.high, change.test, change.chance, change.isWorse],
  ];
  return values.map((value) => String(value ?? ""));
}
