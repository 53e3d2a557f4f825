/** TCP Fast Open: a self-connect that begins with data in its SYN, with a cookie asked for and without one. */
import { TcpSocket } from "../../socket/socket.ts";
import { supported } from "../../socket/supported.ts";
import type { Experiment } from "../experiment.ts";
import { ABSENT, walkOf } from "../experiment.ts";
import { loopback, outcomeOf } from "../instruments.ts";

const HELLO = new TextEncoder().encode("hello");
const WAIT = { deadlineMs: 1500 };

export const fastOpen: Experiment = {
  name: "fast-open",
  isSlow: true,
  question: "TCP_FASTOPEN_CONNECT on a bound self-connect: when is it joined, and do its bytes come back?",
  expected: (subject) =>
    walkOf(subject) &&
    "with a cookie: connect() sends, self-connect, 5 bytes; without: send() sends, self-connect, 5 bytes",
  run: async (instruments) => {
    if (!supported("fastOpenConnect") || !supported("fastOpenNoCookie"))
      return { answer: ABSENT, counts: {} };
    return instruments.withSysctl("net.ipv4.tcp_fastopen", "1", async () => {
      const asked = await open(instruments.findPort(), false);
      const none = await open(instruments.findPort(), true);
      return { answer: `with a cookie: ${asked}; without: ${none}`, counts: { sockets: 2 } };
    });
  },
};

async function open(port: number, fastOpenNoCookie: boolean): Promise<string> {
  const address = loopback(port);
  using socket = TcpSocket.open(4, { fastOpenConnect: true, fastOpenNoCookie }).bind(address);
  socket.connect(address);
  // A self-connect on loopback has ended when connect(2) returns, unless its SYN waits for data.
  const by = socket.getsockopt("information").state === "SYN-SENT" ? "send()" : "connect()";
  const end = await outcomeOf(async () => {
    if (by === "connect()") await socket.connected(WAIT);
    socket.send(HELLO);
    await socket.connected(WAIT);
    return socket.isSelfConnected() ? "self-connect" : "connected";
  });
  const bytes = end === "self-connect" ? await countBytes(socket) : 0;
  socket.reset();
  return `${by} sends, ${end}, ${bytes} bytes`;
}

async function countBytes(socket: TcpSocket): Promise<number> {
  const got = await outcomeOf(async () => {
    await socket.receiveExactly(HELLO.length, WAIT);
    return "all";
  });
  return got === "all" ? HELLO.length : 0;
}
