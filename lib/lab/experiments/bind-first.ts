/** bind(address, P), then connect(address, P): the deterministic means that needs nothing. */

import type { Experiment } from "../experiment.ts";
import { loopback, RANGE, sureWords, tally } from "../instruments.ts";

export const bindFirst: Experiment = {
  name: "bind-first",
  question: "bind() to the destination's port first: joined to itself at once, over IPv4 and IPv6?",
  expected: () => "yes: self-connect",
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const outcomes: string[] = [];
      for (const family of [4, 6] as const) {
        for (const parity of ["low", "other"] as const) {
          const peer = loopback(instruments.port(parity), family);
          outcomes.push((await instruments.connectOnce(peer, { local: peer })).outcome);
        }
      }
      return { answer: sureWords(outcomes), counts: tally(outcomes) };
    }),
};
