/** bind(address, P), then connect(address, P): a certain self-connect that needs no option. */

import type { Experiment } from "../experiment.ts";
import { describeOutcomes, loopback, RANGE, tally, withFamilies } from "../instruments.ts";

export const bindFirst: Experiment = {
  name: "bind-first",
  question: "bind() to the destination's port first: joined to itself at once, over IPv4 and IPv6?",
  expected: (subject) => withFamilies("yes: self-connect", subject),
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const outcomes: string[] = [];
      for (const family of [4, 6] as const) {
        for (const parity of ["low", "other"] as const) {
          const peer = loopback(instruments.findPort(parity), family);
          outcomes.push((await instruments.connectOnce(peer, { local: peer })).outcome);
        }
      }
      return { answer: describeOutcomes(outcomes), counts: tally(outcomes) };
    }),
};
