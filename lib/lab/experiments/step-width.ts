/** net.ipv4.ip_local_port_step_width: a random stride over unusable ports, 7.1 and later. */

import { sysctl } from "../../kernel/host.ts";
import { isAtLeast } from "../../kernel/release.ts";
import type { Experiment } from "../experiment.ts";
import { ABSENT } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";
import { LOW_PARITY, parityWords, stepsOf, stepWords } from "../walk.ts";

const NAME = "net.ipv4.ip_local_port_step_width";
const WIDTH = 64;
const ATTEMPTS = 300;

export const stepWidth: Experiment = {
  name: "step-width",
  question: "ip_local_port_step_width of 64, with every port free: which ports, in which steps?",
  expected: (subject) => {
    if (subject.machine === "gvisor" || !isAtLeast(subject.upstream, "7.1")) return ABSENT;
    return `${LOW_PARITY}, 2 to 16, multiples of 2`;
  },
  run: async (instruments) => {
    if (sysctl(NAME) === null) return { answer: ABSENT, counts: {} };
    const initial = Number(sysctl(NAME));
    return instruments.withRange(RANGE, () =>
      instruments.withSysctl(NAME, String(WIDTH), async () => {
        const ports = await instruments.recordWalk(loopback(instruments.findPortOutside()), ATTEMPTS);
        const words = `${parityWords(ports, instruments.range)}, ${stepWords(stepsOf(ports, instruments.range))}`;
        return { answer: words, counts: { attempts: ports.length, initialWidth: initial, width: WIDTH } };
      }),
    );
  },
};
