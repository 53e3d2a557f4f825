/** A block of ports in net.ipv4.ip_local_reserved_ports: a search that starts in it ends at the first port above it. */
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";

const PORTS = 128;
const BLOCK = 32;
const ATTEMPTS = 400;
/** A walk of steps of 2 to 16 picks the port above the block in each lap, and any other in 2 of 9. */
const MUCH_MORE = 2.5;
const ALL_ALIKE = "no";

export const reservedBlock: Experiment = {
  name: "reserved-block",
  isSlow: true,
  question: "Is the first port above a block of reserved ports picked more often than others?",
  expected: (subject) => {
    const walk = walkOf(subject);
    if (walk === "large table") return "yes, several times as often";
    return walk === "one hint" ? ALL_ALIKE : null;
  },
  run: (instruments) =>
    instruments.withRange({ low: RANGE.low, high: RANGE.low + PORTS - 1 }, async () => {
      const { low } = instruments.range;
      const first = low + BLOCK;
      const above = first + BLOCK;
      const block = `${first}-${above - 1}`;
      return instruments.withSysctl("net.ipv4.ip_local_reserved_ports", block, async () => {
        const ports = await instruments.recordWalk(loopback(instruments.findPortOutside()), ATTEMPTS);
        const picked = ports.filter((port) => port === above).length;
        const reserved = ports.filter((port) => port >= first && port < above).length;
        const usable = (PORTS - BLOCK) / 2;
        const ratio = (picked * (usable - 1)) / (ports.length - picked);
        const words = ratio > MUCH_MORE ? "yes, several times as often" : ALL_ALIKE;
        return {
          answer: reserved > 0 ? "reserved ports are picked" : words,
          figure: `${ratio.toFixed(1)} times as often`,
          counts: { attempts: ports.length, picked, reserved, others: ports.length - picked, usable },
        };
      });
    }),
};
