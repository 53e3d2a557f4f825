/** IPPROTO_MPTCP: whether a Multipath TCP socket can be joined to itself. */
import { SocketError } from "../../socket/errors.ts";
import { TcpSocket } from "../../socket/socket.ts";
import { supported } from "../../socket/supported.ts";
import type { Experiment } from "../experiment.ts";
import { ABSENT } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { completeConnect, loopback, outcomeOf } from "../instruments.ts";

/** The errnos of socket(2) where the kernel is built without it. */
const LACKING = ["EPROTONOSUPPORT", "EINVAL", "ENOPROTOOPT"];

export const mptcp: Experiment = {
  name: "mptcp",
  question: "Multipath TCP: is a socket joined to itself by a range of one port, and by bind()?",
  // Whether a kernel has it is a choice of who built it, and its version does not show it.
  expected: () => null,
  run: async (instruments) => {
    if (!hasMptcp()) return { answer: ABSENT, counts: {} };
    const picked = await joinPicked(instruments);
    const bound = await joinBound(instruments);
    return {
      answer: `range of one: ${picked}; bind(): ${bound}`,
      counts: { [`range of one: ${picked}`]: 1, [`bind(): ${bound}`]: 1 },
    };
  },
};

function hasMptcp(): boolean {
  try {
    TcpSocket.open(4, { mptcp: true }).close();
    return true;
  } catch (error) {
    if (error instanceof SocketError && LACKING.includes(error.code)) return false;
    throw error;
  }
}

function joinPicked(instruments: Instruments): Promise<string> {
  const port = instruments.findPort();
  return instruments.withPort(port, async () => {
    using socket = TcpSocket.open(4, { mptcp: true });
    return await join(socket, port);
  });
}

async function joinBound(instruments: Instruments): Promise<string> {
  const port = instruments.findPort();
  using socket = TcpSocket.open(4, { mptcp: true }).bind(loopback(port));
  return await join(socket, port);
}

async function join(socket: TcpSocket, port: number): Promise<string> {
  const outcome = await outcomeOf(async () => {
    await completeConnect(socket, loopback(port));
    if (!socket.isSelfConnected()) return "connected";
    if (!supported("multipath")) return "self-connect";
    return socket.getsockopt("multipath") ? "self-connect, Multipath TCP" : "self-connect, plain TCP";
  });
  socket.reset();
  return outcome;
}
