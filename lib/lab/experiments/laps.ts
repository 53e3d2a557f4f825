/** The walk, for a plot: local ports in the order in which the kernel picked them. */

import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";
import { isJump, stepsOf } from "../walk.ts";

const ATTEMPTS = 450;

export const laps: Experiment = {
  name: "laps",
  question: "In which order are the ports given?",
  expected: (subject) => (walkOf(subject) ? "upward, lap after lap" : null),
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const ports = await instruments.recordWalk(loopback(instruments.findPortOutside()), ATTEMPTS);
      const jumps = stepsOf(ports, instruments.range).filter(isJump).length;
      const downward = ports.slice(1).filter((port, i) => port < ports[i]!).length;
      const isUpward = jumps < ATTEMPTS / 10;
      return {
        answer: isUpward ? "upward, lap after lap" : "in no order",
        figure: `${downward} times downward in ${ports.length} attempts`,
        counts: { attempts: ports.length, downward, jumps, distinct: new Set(ports).size },
        samples: { plot: "walk", unit: "port", values: ports },
      };
    }),
};
