/** IP_LOCAL_PORT_RANGE as wide as the namespace's range: whether it changes the walk. */

import { isAtLeast } from "../../kernel/release.ts";
import type { Experiment } from "../experiment.ts";
import { hasPortRange } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";
import { expectedLack, lackOfPortRange } from "../option-state.ts";
import { BOTH_PARITIES, LOW_PARITY, parityWords, stepCounts, stepsOf, stepWords } from "../walk.ts";

const ATTEMPTS = 300;

export const rangeFull: Experiment = {
  name: "range-full",
  question: "IP_LOCAL_PORT_RANGE of the whole ephemeral range: which ports, in which steps?",
  expected: (subject) => {
    if (!hasPortRange(subject)) return expectedLack(subject);
    return isAtLeast(subject.upstream, "6.8")
      ? `${BOTH_PARITIES}, 1 to 8`
      : `${LOW_PARITY}, 2 to 16, multiples of 2`;
  },
  run: async (instruments) => {
    const lack = await lackOfPortRange(instruments);
    if (lack) return { answer: lack, counts: {} };
    return instruments.withRange(RANGE, async () => {
      const options = { localPortRange: instruments.range };
      const attempts = await instruments.connectMany(loopback(instruments.findPortOutside()), ATTEMPTS, {
        options,
      });
      const ports = attempts.map(({ localPort }) => localPort);
      const taken = stepsOf(ports, instruments.range);
      return {
        answer: `${parityWords(ports, instruments.range)}, ${stepWords(taken)}`,
        counts: { attempts: ports.length, ...stepCounts(taken) },
        samples: { plot: "steps", unit: "ports", values: taken },
      };
    });
  },
};
