/** The walk, for a plot: local ports in the order in which the kernel picked them. */

import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";
import { isSuddenMove, stepsOf } from "../walk.ts";

const ATTEMPTS = 450;

export const order: Experiment = {
  name: "order",
  question: "In which order are the ports given?",
  expected: (subject) => (walkOf(subject) ? "upward, round the range again and again" : null),
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const ports = await instruments.recordWalk(loopback(instruments.findPortOutside()), ATTEMPTS);
      const moves = stepsOf(ports, instruments.range).filter(isSuddenMove).length;
      const downward = ports.slice(1).filter((port, i) => port < ports[i]!).length;
      const isUpward = moves < ATTEMPTS / 10;
      return {
        answer: isUpward ? "upward, round the range again and again" : "in no order",
        figure: `${downward} times downward in ${ports.length} attempts`,
        counts: { attempts: ports.length, downward, moves, distinct: new Set(ports).size },
        samples: { plot: "walk", unit: "port", values: ports },
      };
    }),
};
