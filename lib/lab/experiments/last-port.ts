/**
 * The last port of a range of odd size. `remaining &= ~1U` in __inet_hash_connect (net/ipv4/inet_hashtables.c) leaves
 * it out of the starts of a search, but a search that starts at an unusable port goes on to it.
 */
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { loopback } from "../instruments.ts";

const PORTS = 9;
const ATTEMPTS = 60;

export const lastPort: Experiment = {
  name: "last-port",
  question: "Is the last port of an odd-sized range ever picked, and while the port two below it is in use?",
  expected: (subject) => (walkOf(subject) ? "never; with the other in use: picked" : null),
  run: (instruments) =>
    instruments.withRange(instruments.findPorts(PORTS), async () => {
      const { high } = instruments.range;
      const free = await countPicks(instruments, high);
      using _held = TcpSocket.open(4).bind(loopback(high - 2));
      const held = await countPicks(instruments, high);
      return {
        answer: `${describe(free)}; with the other in use: ${describe(held)}`,
        figure: `${free} and ${held} of ${ATTEMPTS} attempts`,
        counts: { ports: PORTS, attempts: ATTEMPTS, picked: free, pickedWithHolder: held },
      };
    }),
};

async function countPicks(instruments: Instruments, port: number): Promise<number> {
  const ports = await instruments.recordWalk(loopback(instruments.findPortOutside()), ATTEMPTS);
  return ports.filter((one) => one === port).length;
}

function describe(count: number): string {
  return count === 0 ? "never" : "picked";
}
