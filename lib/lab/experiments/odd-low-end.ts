/** An odd low end: whether parity is counted from the low end of the range or from zero. */

import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";
import { BOTH_PARITIES, LOW_PARITY, parityWords } from "../walk.ts";

const ATTEMPTS = 100;

export const oddLowEnd: Experiment = {
  name: "odd-low-end",
  question: "Does an odd low end of the ephemeral range flip the parity that connect() picks?",
  expected: (subject) => (walkOf(subject) ? "yes: odd ports" : null),
  run: (instruments) =>
    instruments.withRange({ low: RANGE.low + 1, high: RANGE.high }, async () => {
      const ports = await instruments.recordWalk(loopback(instruments.findPortOutside()), ATTEMPTS);
      const parity = parityWords(ports, instruments.range);
      const odd = ports.filter((port) => port % 2 === 1).length;
      const answers: Record<string, string> = {
        [LOW_PARITY]: "yes: odd ports",
        [BOTH_PARITIES]: "no: both parities",
      };
      return {
        answer: answers[parity] ?? "no: even ports",
        counts: { attempts: ports.length, odd, even: ports.length - odd },
      };
    }),
};
