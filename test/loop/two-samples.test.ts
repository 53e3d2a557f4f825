/** Tests of two groups of samples, against values that other programs compute. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../lib/loop/statistics.ts";
import {
  compareMedians,
  compareShares,
  kolmogorovTest,
  mannWhitneyTest,
  wilson,
} from "../../lib/loop/two-samples.ts";

const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, index) => index + from);

describe("the two-sample tests give the p-values of scipy 1.11", () => {
  it("Kolmogorov-Smirnov: ks_2samp(range(50), range(10, 60), mode='asymp') is 0.27 without small terms", () => {
    const { statistic, p } = kolmogorovTest(upTo(50), upTo(50, 11));
    expect(statistic).toBeCloseTo(0.2, 12);
    expect(p).toBeGreaterThan(0.2);
    expect(p).toBeLessThan(0.3);
  });

  it("Mann-Whitney with ties: mannwhitneyu(range(1, 9), range(5, 13), method='asymptotic')", () => {
    expect(mannWhitneyTest(upTo(8), upTo(8, 5))).toEqual({
      statistic: 8,
      p: expect.closeTo(0.0133130028, 6),
    });
    expect(mannWhitneyTest(upTo(8, 5), upTo(8)).p).toBeCloseTo(0.0133130028, 6);
  });

  it("samples that are all equal differ by nothing", () => {
    expect(mannWhitneyTest([7, 7, 7], [7, 7, 7]).p).toBe(1);
    expect(kolmogorovTest([7, 7, 7], [7, 7, 7])).toEqual({ statistic: 0, p: 1 });
  });

  it("one right hypothesis in about twenty is refused at 5 %", () => {
    const random = seededRandom(7);
    const draw = (count: number) => Array.from({ length: count }, random);
    const refused = upTo(600).filter(() => mannWhitneyTest(draw(20), draw(15)).p < 0.05).length;
    expect(refused).toBeGreaterThan(15);
    expect(refused).toBeLessThan(50);
  });
});

describe("effects", () => {
  it("the ratio of medians is that of the second to the first, in an interval that holds it", () => {
    const rates = upTo(21, 90);
    const faster = rates.map((rate) => rate * 1.5);
    const effect = compareMedians("ratio", rates, faster);
    expect(effect).toMatchObject({ kind: "ratio", value: expect.closeTo(1.5, 9) });
    expect(effect.low).toBeLessThan(1.5);
    expect(effect.low).toBeGreaterThan(1.3);
    expect(effect.high).toBeLessThan(1.75);
    expect(compareMedians("ratio", rates, faster), "the same samples give the same interval").toEqual(effect);
  });

  it("the difference of medians has the sign of the second", () => {
    expect(compareMedians("difference", upTo(9), upTo(9, 4)).value).toBe(3);
    expect(compareMedians("difference", upTo(9, 4), upTo(9)).value).toBe(-3);
  });

  it("shares: Newcombe's own example, 56 of 70 and 48 of 80, is 0.0524 to 0.3339", () => {
    const { effect, test } = compareShares([48, 80], [56, 70]);
    expect(effect.value).toBeCloseTo(0.2, 12);
    expect([effect.low, effect.high]).toEqual([expect.closeTo(0.0524, 4), expect.closeTo(0.3339, 4)]);
    expect(test.p).toBeCloseTo(0.00804508, 6);
  });

  it("Wilson's interval of 0 of 10 begins at 0 and ends at 0.2775", () => {
    expect(wilson(0, 10)).toEqual({ low: 0, high: expect.closeTo(0.2775, 4) });
  });
});
