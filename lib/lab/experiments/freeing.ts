/** How the self-connect of another process can be ended, and whether its port is free then. */
import type { FreedBy } from "../../audit/free.ts";
import { free } from "../../audit/free.ts";
import { closePlainly } from "../../packets/leavings.ts";
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { loopback, outcomeOf } from "../instruments.ts";

const WAYS: readonly FreedBy[] = ["SOCK_DESTROY", "pidfd_getfd"];

export const freeing: Experiment = {
  name: "freeing",
  question: "Which ways of `free()` end a self-connect, and is the port free then?",
  // Not known in advance: a guest may lack the module of sock_diag, or be built without INET_DIAG_DESTROY.
  expected: () => null,
  run: async (instruments) => {
    const words: string[] = [];
    for (const way of WAYS) {
      const picked = await endPicked(instruments, way);
      const bound = await endBound(instruments, way);
      words.push(`${way} picked ${picked}, bound ${bound}`);
    }
    words.push(`TIME-WAIT ${await endTimeWait(instruments)}`);
    return { answer: words.join("; "), counts: { sockets: words.length } };
  },
};

/** The kernel picks the port from a range of one. */
function endPicked(instruments: Instruments, way: FreedBy): Promise<string> {
  const port = instruments.findPort();
  return instruments.withPort(port, async () => {
    using socket = TcpSocket.open(4);
    const outcome = await outcomeOf(() => connect(socket, port));
    return outcome === "connected" ? await end(port, way) : `never (${outcome})`;
  });
}

async function endBound(instruments: Instruments, way: FreedBy): Promise<string> {
  using socket = await joinBound(instruments.findPort());
  return await end(socket.getsockname().port, way);
}

async function endTimeWait(instruments: Instruments): Promise<string> {
  const port = instruments.findPort();
  closePlainly(await joinBound(port));
  return await end(port, "SOCK_DESTROY");
}

async function joinBound(port: number): Promise<TcpSocket> {
  const socket = TcpSocket.open(4).bind(loopback(port));
  await connect(socket, port);
  return socket;
}

async function connect(socket: TcpSocket, port: number): Promise<"connected"> {
  if (socket.connect(loopback(port)) === "in-progress") await socket.connected({ deadlineMs: 1000 });
  return "connected";
}

/** "free", "kept", or the errno. */
async function end(port: number, way: FreedBy): Promise<string> {
  const { sockets } = await free(loopback(port), { ways: [way], settleMs: 0 });
  const [freed] = sockets;
  if (!freed) return "not found";
  if (freed.by === null) return freed.refusals[way] ?? "not possible";
  return freed.isFree ? "free" : "kept";
}
