/** The spread of samples. */
import { expect, it } from "vitest";
import { seededRandom, spreadOf } from "../../lib/loop/statistics.ts";

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
