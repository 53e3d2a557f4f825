/** Bounds of one's own for the rows of a benchmark. */
import { describe, expect, it } from "vitest";
import type { BenchReport, BenchRow } from "../../lib/report/bench.ts";
import { applyBenchBounds, checkBenchBounds, parseBenchBounds } from "../../lib/report/bench-bounds.ts";

function makeRow(what: string, value: number | null): BenchRow {
  const verdict = value === null ? "disagree" : "missed";
  const bound = { kind: "at least", value: 100 } as const;
  return { what, unit: "ratio", bound, value, low: null, high: null, verdict, because: "rounds disagree" };
}

const parse = (value: unknown) => parseBenchBounds("bounds.json", JSON.stringify(value));

it("replace all bounds of the report, and decide the verdicts", () => {
  const rows = [makeRow("fast", 2), makeRow("slow", 2), makeRow("noisy", null), makeRow("other", 2)];
  const bounds = parse({ fast: { atLeast: 2 }, slow: { atMost: 1.5 }, noisy: { atMost: 1 } });
  const judged = applyBenchBounds({ rows } as unknown as BenchReport, bounds).rows;
  expect(judged.map(({ verdict, bound }) => [verdict, bound])).toEqual([
    ["reached", { kind: "at least", value: 2 }],
    ["missed", { kind: "at most", value: 1.5 }],
    ["disagree", { kind: "at most", value: 1 }],
    ["reported", null],
  ]);
  expect(judged.map(({ because }) => because)).toEqual([null, null, "rounds disagree", null]);
});

describe("a file of bounds is refused, with its name and the value that is wrong:", () => {
  it.each([
    ["text that is no JSON", "{", "bounds.json: "],
    ["a list", "[1]", "[1] is no object of rows"],
    ["no row", "{}", "it names no row"],
    ["a number", '{"fast":2}', '"fast": 2 is no bound'],
    ["a misspelt kind", '{"fast":{"atleast":2}}', '"fast": {"atleast":2} is no bound'],
    ["both kinds", '{"fast":{"atLeast":2,"atMost":3}}', '"fast": {"atLeast":2,"atMost":3} is no bound'],
    ["a value that is no number", '{"fast":{"atLeast":"2"}}', '"fast": {"atLeast":"2"} is no bound'],
    ["a negative value", '{"fast":{"atLeast":-1}}', '"fast": {"atLeast":-1} is no bound'],
  ])("%s", (_, json, message) => {
    const act = () => parseBenchBounds("bounds.json", json);
    expect(act).toThrow(expect.objectContaining({ code: "ERR_INVALID_EXPECTATION" }));
    expect(act).toThrow(message);
  });

  it("a row that the run has not, with the nearest that it has", () => {
    const bounds = parse({ fats: { atLeast: 2 } });
    expect(() => checkBenchBounds("bounds.json", bounds, ["fast", "slow"])).toThrow(
      'bounds.json: "fats" is not a row of this run: did you mean "fast"?',
    );
    expect(() => checkBenchBounds("bounds.json", bounds, ["something else"])).toThrow(
      "the rows are: something else",
    );
    expect(() => checkBenchBounds("bounds.json", bounds, ["fats"])).not.toThrow();
  });
});
