/** bind(address, 0) before connect: which ports the kernel picks. */

import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";
import { OTHER_PARITY, parityWords } from "../walk.ts";

const ATTEMPTS = 120;

export const autobind: Experiment = {
  name: "autobind",
  question: "bind() to port 0 before connect(): which parity?",
  expected: (subject) => (walkOf(subject) ? OTHER_PARITY : null),
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const ports = await instruments.recordWalk(
        loopback(instruments.findPortOutside()),
        ATTEMPTS,
        "autobind",
      );
      return {
        answer: parityWords(ports, instruments.range),
        counts: { attempts: ports.length, distinct: new Set(ports).size },
        samples: { plot: "walk", unit: "port", values: ports },
      };
    }),
};
