/** IP_LOCAL_PORT_RANGE = [P, P]: the kernel can only pick the peer's port. */
import { supported } from "../../socket/supported.ts";
import type { Experiment } from "../experiment.ts";
import { ABSENT, hasPortRange } from "../experiment.ts";
import { describeOutcomes, loopback, RANGE, tally } from "../instruments.ts";

export const rangeOne: Experiment = {
  name: "range-one",
  question:
    "IP_LOCAL_PORT_RANGE of the destination's port alone: joined to itself at once, over IPv4 and IPv6?",
  expected: (subject) => (hasPortRange(subject) ? "yes: self-connect" : ABSENT),
  run: async (instruments) => {
    if (!supported("localPortRange")) return { answer: ABSENT, counts: {} };
    return instruments.withRange(RANGE, async () => {
      const outcomes: string[] = [];
      for (const family of [4, 6] as const) {
        for (const parity of ["low", "other"] as const) {
          const port = instruments.findPort(parity);
          const options = { localPortRange: { low: port, high: port } };
          outcomes.push((await instruments.connectOnce(loopback(port, family), { options })).outcome);
        }
      }
      return { answer: describeOutcomes(outcomes), counts: tally(outcomes) };
    });
  },
};
