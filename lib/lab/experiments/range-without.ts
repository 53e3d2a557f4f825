/** IP_LOCAL_PORT_RANGE that leaves the destination's port out: prevention. */
import type { Experiment } from "../experiment.ts";
import { hasPortRange } from "../experiment.ts";
import { loopback, RANGE, tally } from "../instruments.ts";
import { expectedLack, lackOfPortRange } from "../option-state.ts";

const PORTS = 16;
const ATTEMPTS = 200;

export const rangeWithout: Experiment = {
  name: "range-without",
  question: "IP_LOCAL_PORT_RANGE that leaves the destination's port out: does it prevent the self-connect?",
  expected: (subject) => (hasPortRange(subject) ? "yes" : expectedLack(subject)),
  run: async (instruments) => {
    const lack = await lackOfPortRange(instruments);
    if (lack) return { answer: lack, counts: {} };
    // The range is so small that without the option (the control) a self-connect comes within a few attempts.
    return instruments.withRange({ low: RANGE.low, high: RANGE.low + 2 * PORTS - 1 }, async () => {
      const { low, high } = instruments.range;
      const peer = loopback(low);
      const control = tally((await instruments.connectMany(peer, ATTEMPTS)).map(({ outcome }) => outcome));
      const options = { localPortRange: { low: low + 2, high } };
      const kept = tally(
        (await instruments.connectMany(peer, ATTEMPTS, { options })).map(({ outcome }) => outcome),
      );
      const [without, withOption] = [control["self-connect"] ?? 0, kept["self-connect"] ?? 0];
      return {
        answer: withOption > 0 ? "no" : without > 0 ? "yes" : "nothing to prevent",
        figure: `${withOption} of ${ATTEMPTS} with it, ${without} of ${ATTEMPTS} without`,
        counts: { attempts: ATTEMPTS, selfConnectsWithout: without, selfConnectsWith: withOption },
      };
    });
  },
};
