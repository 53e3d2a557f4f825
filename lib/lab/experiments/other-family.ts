/**
 * A holder of the other address family. __inet_hash_connect (net/ipv4/inet_hashtables.c) skips a port as soon as a
 * bind(2) has an owner there, "Does not bother with rcv_saddr checks".
 */
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { completeConnect, hasIpv6, loopback, NotHere } from "../instruments.ts";

const KEPT = "EADDRNOTAVAIL";

export const otherFamily: Experiment = {
  name: "other-family",
  question: "Does a socket on ::1 keep its port from connects to 127.0.0.1, and one on 127.0.0.1 from ::1?",
  expected: (subject) =>
    walkOf(subject) && subject.hasIpv6 ? "bound: yes, yes; listening: yes, yes; connected: no, no" : null,
  run: async (instruments) => {
    if (!hasIpv6()) throw new NotHere("no IPv6 here");
    const counts: Record<string, number> = {};
    const words: string[] = [];
    for (const state of ["bound", "listening", "connected"] as const) {
      const ends: string[] = [];
      for (const family of [6, 4] as const) {
        const end = await pickBeside(instruments, state, family);
        counts[`${state}, IPv${family} holder: ${end}`] = 1;
        ends.push(end === KEPT ? "yes" : end === "picked" ? "no" : end);
      }
      words.push(`${state}: ${ends.join(", ")}`);
    }
    return { answer: words.join("; "), counts };
  },
};

/** Whether a connect of the other family gets the port of this holder. */
async function pickBeside(
  instruments: Instruments,
  state: "bound" | "listening" | "connected",
  family: 4 | 6,
): Promise<string> {
  const port = instruments.findPort();
  const dead = instruments.findPortOutside();
  using listener = TcpSocket.open(family).bind(loopback(0, family));
  using holder = TcpSocket.open(family);
  if (state === "connected") await connectFrom(instruments, holder, port, listener.listen());
  else holder.bind(loopback(port, family));
  if (state === "listening") holder.listen();
  const end = await instruments.pickFrom(port, loopback(dead, family === 4 ? 6 : 4));
  holder.reset();
  return end;
}

/** The kernel picks the port for this socket. */
function connectFrom(instruments: Instruments, holder: TcpSocket, port: number, listener: TcpSocket) {
  return instruments.withPort(port, () => completeConnect(holder, listener.getsockname()));
}
