/** net.ipv4.ip_local_reserved_ports: the kernel never picks them, but bind() still can. */

import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";

const PORTS = 32;
const ATTEMPTS = 200;

export const reserved: Experiment = {
  name: "reserved",
  question: "Is a port of ip_local_reserved_ports ever picked, and can it still be bound by name?",
  expected: (subject) => (walkOf(subject) ? "never picked, can be bound" : null),
  run: (instruments) =>
    instruments.withRange({ low: RANGE.low, high: RANGE.low + PORTS - 1 }, async () => {
      const port = instruments.findPort();
      const control = countPicks(
        await instruments.recordWalk(loopback(instruments.findPortOutside()), ATTEMPTS),
        port,
      );
      return instruments.withSysctl("net.ipv4.ip_local_reserved_ports", String(port), async () => {
        const count = countPicks(
          await instruments.recordWalk(loopback(instruments.findPortOutside()), ATTEMPTS),
          port,
        );
        const bound = await instruments.connectOnce(loopback(port), { local: loopback(port) });
        const words = bound.outcome === "self-connect" ? "can be bound" : "cannot be bound";
        return {
          answer: `${count === 0 ? "never picked" : "picked"}, ${words}`,
          figure: `${count} of ${ATTEMPTS} attempts, ${control} without it`,
          counts: { attempts: ATTEMPTS, picked: count, pickedWithout: control },
        };
      });
    }),
};

function countPicks(ports: readonly number[], port: number): number {
  return ports.filter((one) => one === port).length;
}
