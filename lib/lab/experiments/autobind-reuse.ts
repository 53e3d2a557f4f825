/** SO_REUSEADDR and bind(address, 0): the kernel keeps the upper half of the range for sockets without the option. */

import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";

const ATTEMPTS = 60;

export const autobindReuse: Experiment = {
  name: "autobind-reuse",
  question: "bind() to port 0 with SO_REUSEADDR: from which half of the range?",
  expected: (subject) => (walkOf(subject) ? "lower half" : null),
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const { low, high } = instruments.range;
      const peer = loopback(instruments.findPortOutside());
      const how = { options: { reuseAddress: true }, local: loopback(0) };
      const ports = (await instruments.connectMany(peer, ATTEMPTS, how)).map(({ localPort }) => localPort);
      const lower = ports.filter((port) => port < (low + high) / 2).length;
      return {
        answer: lower === ports.length ? "lower half" : lower === 0 ? "upper half" : "both halves",
        counts: { attempts: ports.length, lower, upper: ports.length - lower },
      };
    }),
};
