/** IP_LOCAL_PORT_RANGE = [P, P]: the kernel choosing the one port there is. */
import { supported } from "../../socket/socket.ts";
import { loopback, RANGE, sureWords, tally } from "../bench.ts";
import type { Experiment } from "../experiment.ts";
import { ABSENT, hasPortRange } from "../experiment.ts";

export const rangeOne: Experiment = {
  name: "range-one",
  question:
    "IP_LOCAL_PORT_RANGE of the destination's port alone: joined to itself at once, over IPv4 and IPv6?",
  expected: (subject) => (hasPortRange(subject) ? "yes: self-connect" : ABSENT),
  run: async (bench) => {
    if (!supported("localPortRange")) return { answer: ABSENT, counts: {} };
    return bench.withRange(RANGE, async () => {
      const outcomes: string[] = [];
      for (const family of [4, 6] as const) {
        for (const parity of ["low", "other"] as const) {
          const port = bench.port(parity);
          const options = { localPortRange: { low: port, high: port } };
          outcomes.push((await bench.once(loopback(port, family), { options })).outcome);
        }
      }
      return { answer: sureWords(outcomes), counts: tally(outcomes) };
    });
  },
};
