/** An odd low end: whether parity is counted from the low end of the range or from zero. */
import { loopback, RANGE } from "../bench.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { BOTH_PARITIES, LOW_PARITY, parityWords } from "../walk.ts";

const ATTEMPTS = 100;

export const oddLowEnd: Experiment = {
  name: "odd-low-end",
  question: "Does an odd low end of the ephemeral range flip the parity that connect() picks?",
  expected: (subject) => (walkOf(subject) ? "yes: odd ports" : null),
  run: (bench) =>
    bench.withRange({ low: RANGE.low + 1, high: RANGE.high }, async () => {
      const ports = await bench.walk(loopback(bench.outside()), ATTEMPTS);
      const parity = parityWords(ports, bench.range);
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
