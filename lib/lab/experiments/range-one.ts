/** IP_LOCAL_PORT_RANGE = [P, P]: the kernel can only pick the peer's port. */
import type { Experiment } from "../experiment.ts";
import { hasPortRange } from "../experiment.ts";
import { describeOutcomes, loopback, RANGE, tally, withFamilies } from "../instruments.ts";
import { expectedLack, lackOfPortRange } from "../option-state.ts";

export const rangeOne: Experiment = {
  name: "range-one",
  question:
    "IP_LOCAL_PORT_RANGE of the destination's port alone: joined to itself at once, over IPv4 and IPv6?",
  expected: (subject) =>
    hasPortRange(subject) ? withFamilies("yes: self-connect", subject) : expectedLack(subject),
  run: async (instruments) => {
    const lack = await lackOfPortRange(instruments);
    if (lack) return { answer: lack, counts: {} };
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
