/** Steps and laps: how far the port of each attempt is from the last one. */

import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";
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
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const ports = await instruments.recordWalk(loopback(instruments.findPortOutside()), ATTEMPTS);
      const taken = stepsOf(ports, instruments.range);
      const mean = taken.reduce((sum, step) => sum + step, 0) / taken.length;
      const lap = Math.round((2 * instruments.portsOfParity) / mean);
      return {
        answer: stepWords(taken),
        figure: `mean step ${mean.toFixed(1)}; once round the range in ${lap} attempts`,
        counts: { attempts: ports.length, ...stepCounts(taken) },
        samples: { plot: "steps", unit: "ports", values: taken },
      };
    }),
};
