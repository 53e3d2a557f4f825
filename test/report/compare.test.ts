/** Results of every command in one shape, and what changed between them. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import type { Change } from "../../lib/report/compare.ts";
import { compareResults } from "../../lib/report/compare.ts";
import { compareText, comparisonSheet } from "../../lib/report/compare-sheet.ts";
import type { MeasuredResult } from "../../lib/report/result.ts";
import { parseResult } from "../../lib/report/result.ts";
import { RESULT_KINDS, type ResultRow } from "../../lib/report/result-rows.ts";
import { resultSheet } from "../../lib/report/result-sheet.ts";
import { sheetCsv, sheetHtml, sheetMarkdown, sheetText } from "../../lib/report/sheet.ts";

const HOST = {
  kernel: "6.12",
  architecture: "x64",
  cpus: 2,
  processor: "Example CPU 3000",
  node: "v20",
  version: "0.1.0",
};
const HOSTILE = `</td><script>x</script>|=1+1\u001b[2J\u202e`;
const COMPARE = validator("compare-1");

function validator(name: string) {
  const schema = JSON.parse(readFileSync(`docs/schema/${name}.json`, "utf8"));
  return new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true }).compile(schema);
}

function recordedResult(name: string): { schema: string } & Record<string, unknown> {
  return JSON.parse(readFileSync(new URL(`../golden/${name}.json`, import.meta.url), "utf8"));
}

function makeRow(more: Partial<ResultRow>): ResultRow {
  return {
    ...{ subject: null, name: "a row", value: null, whyNone: null, unit: "", low: null, high: null },
    ...{ compareBy: "equality", samples: [], of: null, better: null, ...more },
  };
}

function makeResult(
  from: string,
  rows: readonly ResultRow[],
  more: Partial<MeasuredResult> = {},
): MeasuredResult {
  return { kind: "bench", from, host: HOST, settings: {}, rows, ...more };
}

/** How one row compares with another. */
function compareRow(first: Partial<ResultRow>, second: Partial<ResultRow>): Change {
  const comparison = compareResults([
    makeResult("one", [makeRow(first)]),
    makeResult("other", [makeRow({ ...first, ...second })]),
  ]);
  expect(COMPARE(JSON.parse(JSON.stringify(comparison))), JSON.stringify(COMPARE.errors)).toBe(true);
  return comparison.changes[0]!;
}

const rounds = (count: number, factor = 1) =>
  Array.from({ length: count }, (_, at) => (1000 + 7 * at) * factor);
const rates = (count: number, factor = 1) => {
  const samples = rounds(count, factor);
  return {
    compareBy: "rates",
    better: "more",
    unit: "per second",
    samples,
    value: samples[count >> 1]!,
  } as const;
};

describe("a row has", () => {
  it("changed where its rates are certainly others, and is worse by its direction", () => {
    const slower = compareRow(rates(20), rates(20, 0.8));
    expect(slower).toMatchObject({ kind: "changed", test: "Mann-Whitney", isWorse: true });
    expect(slower.effect).toMatchObject({ kind: "ratio", value: expect.closeTo(0.8, 6) });
    expect(compareRow(rates(20), rates(20, 1.25)).isWorse).toBe(false);
    const slowerTime = compareRow({ ...rates(20), better: "less" }, { ...rates(20, 1.25), better: "less" });
    expect(slowerTime.isWorse).toBe(true);
    expect(
      compareRow({ ...rates(20), better: null }, { ...rates(20, 0.8), better: null }).isWorse,
    ).toBeNull();
  });

  it("not changed where the rounds are alike, and nobody can know from few of them", () => {
    expect(compareRow(rates(20), rates(20, 1.001)).kind).toBe("same");
    expect(compareRow(rates(4), rates(4, 0.1)).kind).toBe("uncertain");
    expect(compareRow(rates(20), { samples: [], value: 1 }).kind).toBe("uncertain");
  });

  it("changed where a share, a distribution, an interval or an answer has", () => {
    const share = { compareBy: "shares", value: 100, of: 200 } as const;
    expect(compareRow(share, { value: 150 })).toMatchObject({ kind: "changed", test: "two shares" });
    expect(compareRow(share, { value: 101 }).kind).toBe("same");
    expect(compareRow({ ...share, value: 1, of: 1 }, { value: 0 }).kind).toBe("uncertain");
    const trials = { compareBy: "trials", value: 1, samples: rounds(12) } as const;
    expect(compareRow(trials, { samples: rounds(12, 3) })).toMatchObject({
      kind: "changed",
      test: "Kolmogorov-Smirnov",
      effect: { kind: "difference" },
    });
    const figure = { compareBy: "intervals", value: 1, low: 0.9, high: 1.1, better: "more" } as const;
    expect(compareRow(figure, { value: 0.5, low: 0.4, high: 0.6 })).toMatchObject({
      kind: "changed",
      isWorse: true,
    });
    expect(compareRow(figure, { value: 1.05, low: 1, high: 1.2 }).kind).toBe("same");
    expect(compareRow({ value: "yes" }, { value: "no" }).kind).toBe("changed");
    expect(compareRow({ value: 0.1 + 0.2 }, { value: 0.3 }).kind).toBe("same");
  });

  it("no answer where one is missing, and the reason", () => {
    expect(compareRow({ value: 1 }, { value: null, whyNone: "no time" })).toMatchObject({
      kind: "unanswered",
      whyNone: "no time",
    });
    const [first, second] = [
      makeResult("one", [makeRow({ name: "a" })]),
      makeResult("other", [makeRow({ name: "b" })]),
    ];
    expect(compareResults([first, second]).changes.map(({ kind }) => kind)).toEqual([
      "only-first",
      "only-second",
    ]);
  });
});

describe("a comparison", () => {
  it("takes any number of results, all against the first, and says what is another one", () => {
    const [one, two, three] = [1, 0.5, 2].map((factor) =>
      makeResult(`${factor}.json`, [makeRow(rates(20, factor))]),
    );
    const moved = {
      ...two!,
      host: { ...HOST, processor: "Example CPU 9", kernel: "6.18" },
      settings: { threads: "2" },
    };
    const comparison = compareResults([{ ...one!, settings: { threads: "1" } }, moved, three!]);
    expect(comparison.changes.map(({ result, isWorse }) => [result, isWorse])).toEqual([
      [1, true],
      [2, false],
    ]);
    expect(comparison.remarks).toEqual([
      "0.5.json: another processor: x64, 2 of Example CPU 9, not x64, 2 of Example CPU 3000",
      "0.5.json: another kernel: 6.18, not 6.12",
      "0.5.json: another threads: 2, not 1",
      "2.json: another threads: unknown, not 1",
    ]);
    expect(compareText(comparison)).toMatch(
      /a row +0\.5\.json +1,070\/s +535\/s +× 0\.50 \(0\.\d+ to 0\.\d+\), worse/,
    );
  });

  it("compares labs of one kernel each by their questions, whatever the kernels are called", () => {
    const lab = (kernel: string, value: string) =>
      makeResult(kernel, [makeRow({ subject: kernel, name: "parity", value })], { kind: "lab", host: null });
    expect(compareResults([lab("uml 6.1", "yes"), lab("uml 6.12", "no")]).changed).toBe(1);
    const two = makeResult("both", [...lab("uml 6.1", "no").rows, ...lab("host", "no").rows], {
      kind: "lab",
      host: null,
    });
    expect(compareResults([lab("uml 6.1", "yes"), two]).changes.map(({ kind }) => kind)).toEqual([
      "changed",
      "only-second",
    ]);
  });

  it("refuses results of two commands, and one alone", () => {
    const [bench, ports] = [makeResult("b.json", []), makeResult("p.json", [], { kind: "ports" })];
    const code = "ERR_INVALID_ARGUMENT";
    expect(() => compareResults([bench, ports])).toThrow(expect.objectContaining({ code }));
    expect(() => compareResults([bench, ports])).toThrow("b.json is a result of bench, p.json of ports");
    expect(() => compareResults([bench])).toThrow(expect.objectContaining({ code }));
  });
});

describe("a file", () => {
  it.each(Object.keys(RESULT_KINDS))("of %s is read, and equals itself", (kind) => {
    const name = kind === "reconnect" ? "reconnect-trials" : kind;
    const json = JSON.stringify(recordedResult(name));
    const [first, second] = ["one", "other"].map((from) => parseResult(from, json));
    expect(first).toMatchObject({ kind, from: "one" });
    expect(first!.rows.length).toBeGreaterThan(1);
    const { changed, changes } = compareResults([first!, second!]);
    expect({ changed, gone: changes.filter((change) => change.kind.startsWith("only")) }).toEqual({
      changed: 0,
      gone: [],
    });
    const names = first!.rows.map((row) => `${row.subject} ${row.name}`);
    expect(new Set(names).size, "each row has a name of its own").toBe(names.length);
  });

  it.each([
    ["no object", "[]", "a result is not an object"],
    [
      "no schema",
      "{}",
      "its schema is none; this release reads selfconnect.bench/1, selfconnect.reconnect/1",
    ],
    [
      "a newer schema",
      '{"schema":"selfconnect.bench/2"}',
      'is "selfconnect.bench/2"; this release reads selfconnect.bench/1',
    ],
    [
      "a misspelt one",
      '{"schema":"selfconnect.bnch/1"}',
      'is "selfconnect.bnch/1"; this release reads selfconnect.bench/1',
    ],
    ["a field of another type", '{"schema":"selfconnect.bench/1","cells":7}', "cells is not a list"],
  ])("with %s is refused, and it says what is wrong", (_, json, message) => {
    expect(() => parseResult("x.json", json)).toThrow(message);
  });

  it("of an audit with a verdict that every object has a property of is read as that text", () => {
    const odd = JSON.stringify({ ...recordedResult("audit"), verdict: "constructor" });
    expect(parseResult("x.json", odd).rows[0]).toMatchObject({ name: "verdict", value: "constructor" });
  });

  it.each(
    Object.keys(RESULT_KINDS),
  )("of %s in which a field is missing is read or refused by name", (kind) => {
    const whole = recordedResult(kind);
    for (const key of Object.keys(whole)) {
      const { [key]: _, ...rest } = whole;
      try {
        parseResult("x.json", JSON.stringify(rest));
      } catch (error) {
        expect((error as Error).message).toMatch(
          /^(?:its schema is none; |\S.* is not an? (?:object|list|number|short text))/,
        );
      }
    }
  });
});

it("no writer of tables interprets what a file says", () => {
  const row = makeRow({ subject: HOSTILE, name: HOSTILE, value: HOSTILE, unit: HOSTILE });
  const result = makeResult(HOSTILE, [row], { settings: { [HOSTILE]: HOSTILE } });
  const comparison = compareResults([
    result,
    { ...result, from: `${HOSTILE}2`, rows: [{ ...row, value: "x" }] },
  ]);
  for (const sheet of [resultSheet([result]), comparisonSheet(comparison)]) {
    expect(sheetHtml(sheet)).not.toMatch(/<script>x|\u001b/);
    expect(sheetMarkdown(sheet)).not.toMatch(/<script>|\u001b/);
    expect(sheetText(sheet)).not.toMatch(/\u001b|\u202e/);
    expect(sheetCsv(sheet).split("\r\n")).toHaveLength(sheet.csv.length + 1);
  }
});
