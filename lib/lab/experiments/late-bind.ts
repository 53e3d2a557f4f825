/** Late bind: IP_BIND_ADDRESS_NO_PORT leaves the port of bind(address, 0) to connect. */
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";
import { expectedLack, lackOfLateBind } from "../option-state.ts";
import { LOW_PARITY, parityWords, stepsOf, stepWords } from "../walk.ts";

const ATTEMPTS = 200;
const EXPECTED = { "one hint": "always 2", "small table": null, "large table": "2 to 16, multiples of 2" };

export const lateBind: Experiment = {
  name: "late-bind",
  question: "bind() to port 0 with IP_BIND_ADDRESS_NO_PORT: which ports, in which steps?",
  expected: (subject) => {
    if (subject.machine === "gvisor") return expectedLack(subject);
    const walk = walkOf(subject);
    const expected = walk && EXPECTED[walk];
    return expected && `${LOW_PARITY}, ${expected}`;
  },
  run: async (instruments) => {
    const lack = lackOfLateBind();
    if (lack) return { answer: lack, counts: {} };
    return instruments.withRange(RANGE, async () => {
      const how = { options: { bindAddressNoPort: true }, local: loopback(0) };
      const attempts = await instruments.connectMany(loopback(instruments.findPortOutside()), ATTEMPTS, how);
      const ports = attempts.map(({ localPort }) => localPort);
      const words = `${parityWords(ports, instruments.range)}, ${stepWords(stepsOf(ports, instruments.range))}`;
      return { answer: words, counts: { attempts: ports.length, distinct: new Set(ports).size } };
    });
  },
};
