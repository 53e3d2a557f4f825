/** Exhaustion: what connect() picks when one parity is in use, and when both are. */
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback } from "../instruments.ts";
import { parityWords } from "../walk.ts";

const PORTS = 20;

export const exhaustion: Experiment = {
  name: "exhaustion",
  question:
    "All ports of the low end's parity bound: what does connect() pick, and what with all ports bound?",
  expected: (subject) => (walkOf(subject) ? "other parity, then EADDRNOTAVAIL" : null),
  run: (instruments) =>
    instruments.withRange(instruments.findPorts(PORTS), async () => {
      const { low, high } = instruments.range;
      const peer = loopback(instruments.findPortOutside());
      const bound: TcpSocket[] = [];
      const take = (first: number) => {
        for (let port = first; port <= high; port += 2) bound.push(TcpSocket.open(4).bind(loopback(port)));
      };
      try {
        take(low);
        const ports = (await instruments.connectMany(peer, PORTS)).map(({ localPort }) => localPort);
        take(low + 1);
        const spent = await instruments.connectOnce(peer);
        return {
          answer: `${parityWords(ports, instruments.range)}, then ${spent.outcome}`,
          counts: { ports: PORTS, attempts: ports.length, distinct: new Set(ports).size },
        };
      } finally {
        for (const socket of bound) socket.close();
      }
    }),
};
