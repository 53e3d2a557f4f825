/** bind(address, 0) before connect: which ports that picks. */
import { loopback, RANGE } from "../bench.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { OTHER_PARITY, parityWords } from "../walk.ts";

const ATTEMPTS = 120;

export const autobind: Experiment = {
  name: "autobind",
  question: "bind() to port 0 before connect(): which parity?",
  expected: (subject) => (walkOf(subject) ? OTHER_PARITY : null),
  run: (bench) =>
    bench.withRange(RANGE, async () => {
      const ports = await bench.walk(loopback(bench.outside()), ATTEMPTS, "autobind");
      return {
        answer: parityWords(ports, bench.range),
        counts: { attempts: ports.length, distinct: new Set(ports).size },
        samples: { plot: "walk", unit: "port", values: ports },
      };
    }),
};
