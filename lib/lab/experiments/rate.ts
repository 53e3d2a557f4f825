/** Attempts per second, and their ratio to a loop of arithmetic, which roughly cancels the cost of an emulator. */

import type { Experiment } from "../experiment.ts";
import { COUNTED } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";

const ATTEMPTS = 2000;
const ROUNDS = 3;
const LOOP = 2_000_000;

export const rate: Experiment = {
  name: "rate",
  isSlow: true,
  question: "How many attempts a second does one thread make (strategy reuse, three rounds, the best)?",
  expected: () => null,
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      let [attempts, loops] = [0, 0];
      for (let round = 0; round < ROUNDS; round++) {
        // One right after the other, so that the machine is in the same state for both.
        loops = Math.max(loops, loopsPerSecond());
        const result = await instruments.runLoop(loopback(instruments.findPortOutside()), "reuse", ATTEMPTS);
        attempts = Math.max(attempts, result.attemptsPerSecond);
      }
      const relative = (attempts / loops) * 1e6;
      return {
        answer: COUNTED,
        figure: `${Math.round(attempts)} a second; ${Math.round(relative)} in the time of 1,000,000 loops`,
        counts: { attemptsPerSecond: attempts, loopsPerSecond: loops, attemptsPerMillionLoops: relative },
      };
    }),
};

/** The calibration: a loop of integer arithmetic whose result is used. */
function loopsPerSecond(): number {
  const startedAt = performance.now();
  let value = 1;
  for (let i = 0; i < LOOP; i++) value = (Math.imul(value, 1_664_525) + 1_013_904_223) | 0;
  const elapsedMs = performance.now() - startedAt;
  return value === 0 ? 0 : (LOOP * 1000) / elapsedMs;
}
