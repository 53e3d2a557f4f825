/** Steps and laps: how far the next attempt's port is from the last one's. */
import { loopback, RANGE } from "../bench.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { stepCounts, stepsOf, stepWords } from "../walk.ts";

const ATTEMPTS = 600;
const EXPECTED = {
  "one hint": "always 2",
  "small table": "2 to 4, multiples of 2",
  "large table": "2 to 16, multiples of 2",
};

export const steps: Experiment = {
  name: "steps",
  question: "How far is the next attempt's local port from the last one's?",
  expected: (subject) => {
    const walk = walkOf(subject);
    return walk && EXPECTED[walk];
  },
  run: (bench) =>
    bench.withRange(RANGE, async () => {
      const ports = await bench.walk(loopback(bench.outside()), ATTEMPTS);
      const taken = stepsOf(ports, bench.range);
      const mean = taken.reduce((sum, step) => sum + step, 0) / taken.length;
      return {
        answer: stepWords(taken),
        figure: `mean step ${mean.toFixed(1)}; one lap in ${Math.round((2 * bench.portsOfParity) / mean)} attempts`,
        counts: { attempts: ports.length, ...stepCounts(taken) },
        samples: { plot: "steps", unit: "ports", values: taken },
      };
    }),
};
