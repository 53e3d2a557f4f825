/** The statistics of trials, against values that are published or computed by hand. */
import { describe, expect, it } from "vitest";
import {
  chiSquared,
  entropyBits,
  goodnessOfFit,
  kolmogorovTail,
  medianInterval,
  normalTail,
  quantile,
  seededRandom,
  spreadOf,
  summarize,
} from "../../lib/loop/statistics.ts";

it("summarize() sorts numbers, not texts, and leaves the samples as they are", () => {
  const samples = [10, 9, 100, 1];
  expect(summarize(samples)).toEqual({ min: 1, median: 9.5, mean: 30, p90: expect.closeTo(73, 9), max: 100 });
  expect(samples).toEqual([10, 9, 100, 1]);
  expect(summarize([])).toBeNull();
  expect(() => summarize(5 as never)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
});

it.each([
  [[1, 2, 3, 4], 0, 1],
  [[1, 2, 3, 4], 1, 4],
  [[1, 2, 3, 4], 0.25, 1.75],
  [[7], 0.9, 7],
])("the quantile of %j at %d is %d", (sorted, fraction, value) => {
  expect(quantile(sorted, fraction)).toBeCloseTo(value, 12);
});

it.each([
  [0, 0.5],
  [1, 0.158655],
  [1.96, 0.024998],
  [-1.96, 0.975002],
  [3, 0.00135],
])("the chance that a standard normal exceeds %d is %d", (value, chance) => {
  expect(normalTail(value)).toBeCloseTo(chance, 6);
});

it.each([
  [0.1, 1],
  [0.2, 1],
  [0.5, 0.963945],
  [1, 0.27],
  [1.3581, 0.05],
  [1.6276, 0.01],
])("the chance that Kolmogorov's distribution exceeds %d is %d", (value, chance) => {
  expect(kolmogorovTail(value)).toBeCloseTo(chance, 5);
});

describe("Kolmogorov and Smirnov", () => {
  const uniform = (value: number) => value;
  it("the distance is the largest, above or below a step, whatever the order of the samples", () => {
    expect(goodnessOfFit([0.9, 0.1, 0.5], uniform).statistic).toBeCloseTo(0.7 / 3, 12);
    expect(goodnessOfFit([0.3, 0.95, 0.9], uniform).statistic).toBeCloseTo(0.9 - 1 / 3, 12);
    expect(goodnessOfFit([0.5, 0.6, 0.7, 0.8], uniform).statistic).toBeCloseTo(0.5, 12);
    expect(goodnessOfFit([0.1, 0.2, 0.3, 0.4], uniform).statistic).toBeCloseTo(0.6, 12);
  });

  it("p is by Stephens: the distance times the root of n, and a little more", () => {
    const { statistic, p } = goodnessOfFit([0.1, 0.2, 0.3, 0.4], uniform);
    expect(p).toBeCloseTo(kolmogorovTail((2 + 0.12 + 0.055) * statistic), 12);
  });
});

it("Pearson's test pools cells until five are expected", () => {
  // The cells are 10, 2 + 3 and 5.
  expect(chiSquared([12, 1, 2, 5], [10, 2, 3, 5]).statistic).toBeCloseTo(0.4 + 4 / 5, 12);
  const { statistic, p } = chiSquared([30, 14, 34, 45, 57, 20], [20, 20, 30, 40, 60, 30]);
  expect(statistic).toBeCloseTo(11.441667, 5);
  expect(p).toBeCloseTo(0.0433, 3);
  expect(chiSquared([12, 8], [10, 10])).toEqual({ statistic: 0.8, p: expect.closeTo(0.37, 1) });
  expect(chiSquared([5], [5])).toEqual({ statistic: 0, p: 1 });
  expect(chiSquared([4, 9], [4, 1])).toMatchObject({ p: 1 });
});

it("entropy is in bits, corrected for values that were not seen", () => {
  expect(entropyBits([])).toBe(0);
  expect(entropyBits([8])).toBe(0);
  expect(entropyBits([4, 4])).toBeCloseTo(1 + 1 / (16 * Math.LN2), 12);
  expect(entropyBits([1, 3])).toBeCloseTo(0.811278 + 1 / (8 * Math.LN2), 5);
});

it("the random numbers of a seed are mulberry32's, the same each time", () => {
  const next = seededRandom(1);
  const values = [next(), next(), next()];
  expect(values.map((value) => Math.floor(value * 2 ** 32))).toEqual([2693262067, 11749833, 2265367787]);
  const again = seededRandom(1);
  expect([again(), again(), again()]).toEqual(values);
  expect(seededRandom(2)()).not.toBe(values[0]);
});

it("computes deviation and p99, and names the sample that is far from the others", () => {
  const spread = spreadOf([10, 12, 11, 13, 14, 400]);
  expect(spread!.outliers).toEqual([5]);
  expect(spread!.p99).toBeCloseTo(380.7);
  expect(spreadOf([2, 4, 4, 4, 5, 5, 7, 9])!.deviation).toBeCloseTo(Math.sqrt(32 / 7));
  expect(spreadOf([1, 2, 3, 4])).toBeNull();
});

it("has an interval that holds the true mean about as often as it says", () => {
  const random = seededRandom(7);
  let held = 0;
  for (let round = 0; round < 100; round++) {
    const { meanLow, meanHigh } = spreadOf(Array.from({ length: 40 }, () => -Math.log(1 - random())))!;
    if (meanLow <= 1 && meanHigh >= 1) held++;
  }
  expect(held).toBeGreaterThan(85);
  expect(held).toBeLessThan(100);
});

it("the interval of a median leaves out as many samples at either end as 95 % allow", () => {
  const ranks = (count: number) => Array.from({ length: count }, (_, index) => count - index);
  // By the table of Conover, Practical Nonparametric Statistics: ranks 1 of 6 (96.9 %), 3 of 12 (96.1 %), 10 of 30 (95.7 %).
  expect(medianInterval(ranks(6))).toEqual({ low: 1, high: 6 });
  expect(medianInterval(ranks(12))).toEqual({ low: 3, high: 10 });
  expect(medianInterval(ranks(30))).toEqual({ low: 10, high: 21 });
  // No interval of five samples has so much confidence.
  expect(medianInterval(ranks(5))).toEqual({ low: 1, high: 5 });
});
