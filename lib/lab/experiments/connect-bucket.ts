/** A port that connect() chose is in a bind bucket that no bind(2) has marked: who else gets it, and when. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Address } from "../../socket/address.ts";
import { bindRefusal } from "../../socket/listen-refusal.ts";
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { completeConnect, loopback } from "../instruments.ts";

/** gVisor closes asynchronously, on its own threads. */
const SETTLE_MS = 30;
const FREE = "to its peer picked, to another picked, bind(0) picked, bind(P) picked";
const IN_USE = "to its peer EADDRNOTAVAIL, to another picked, bind(0) EADDRINUSE, bind(P) EADDRINUSE";

export const connectBucket: Experiment = {
  name: "connect-bucket",
  question: "A port that connect() chose: who gets it while it is connected, after close(), after a reset?",
  expected: (subject) => walkOf(subject) && `connected: ${IN_USE}; TIME-WAIT: ${IN_USE}; reset: ${FREE}`,
  run: async (instruments) => {
    using listener = instruments.listenOutside();
    const peer = listener.getsockname();
    const [port, other] = [instruments.findPort(), loopback(instruments.findPortOutside())];
    // Otherwise a port in TIME-WAIT is given to the same peer again after a second.
    return await instruments.withSysctl("net.ipv4.tcp_tw_reuse", "0", async () => {
      const ends: Record<string, string> = {};
      const observe = async (state: string) => {
        ends[state] = await askForPort(instruments, port, peer, other);
      };
      using used = await connectFrom(instruments, port, peer);
      await observe("connected");
      used.reset();
      await observe("reset");
      using closed = await connectFrom(instruments, port, peer);
      await closeFirst(closed, listener);
      await observe("TIME-WAIT");
      const words = ["connected", "TIME-WAIT", "reset"].map((state) => `${state}: ${ends[state]}`);
      return { answer: words.join("; "), counts: { requests: 12 } };
    });
  },
};

function connectFrom(instruments: Instruments, port: number, peer: Address): Promise<TcpSocket> {
  return instruments.withPort(port, () => completeConnect(TcpSocket.open(4), peer));
}

/** close(2) at this end, then at the other: this end is in TIME-WAIT. */
async function closeFirst(socket: TcpSocket, listener: TcpSocket): Promise<void> {
  socket.close();
  await sleep(SETTLE_MS);
  for (let other = listener.accept(); other; other = listener.accept()) other.close();
  await sleep(SETTLE_MS);
}

async function askForPort(
  instruments: Instruments,
  port: number,
  peer: Address,
  other: Address,
): Promise<string> {
  const [same, elsewhere] = [await instruments.pickFrom(port, peer), await instruments.pickFrom(port, other)];
  const bind = (local: number) => bindRefusal(loopback(local)) ?? "picked";
  const any = await instruments.withPort(port, async () => bind(0));
  return `to its peer ${same}, to another ${elsewhere}, bind(0) ${any}, bind(P) ${bind(port)}`;
}
