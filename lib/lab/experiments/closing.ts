/** What each way to close a self-connect leaves behind, and who can then bind the port. */
import { setTimeout as sleep } from "node:timers/promises";
import { findFourTuple } from "../../kernel/tables.ts";
import { closePlainly } from "../../packets/leavings.ts";
import { SocketError } from "../../socket/errors.ts";
import { listenRefusal } from "../../socket/listen-refusal.ts";
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";

const WAYS = {
  open: () => {},
  close: closePlainly,
  "shutdown and close": (socket: TcpSocket) => {
    socket.shutdown("both");
    socket.close();
  },
  "SO_REUSEADDR and close": closePlainly,
  reset: (socket: TcpSocket) => socket.reset(),
} as const;

/** gVisor closes asynchronously, on its own threads. */
const SETTLE_MS = 30;
/** As in the table of docs/kernels.md: whether a server can listen, plain and with SO_REUSEADDR. */
const LINUX = "open -/-, close -/-, shutdown and close -/-, SO_REUSEADDR and close -/+, reset +/+";

export const closing: Experiment = {
  name: "closing",
  question: "Who can listen on the port of a self-connect after it (plain / with SO_REUSEADDR)?",
  expected: (subject) => (walkOf(subject) ? LINUX : null),
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const words: string[] = [];
      const counts: Record<string, number> = {};
      for (const way of Object.keys(WAYS) as (keyof typeof WAYS)[]) {
        const { state, plain, reuse } = await closeBy(way, instruments.findPort());
        words.push(`${way} ${plain === "starts" ? "+" : "-"}/${reuse === "starts" ? "+" : "-"}`);
        counts[`${way}: ${state}; ${plain} / ${reuse}`] = 1;
      }
      return { answer: words.join(", "), counts };
    }),
};

async function closeBy(way: keyof typeof WAYS, port: number) {
  const address = loopback(port);
  using socket = TcpSocket.open(4, { reuseAddress: way.startsWith("SO_REUSEADDR") });
  if (socket.bind(address).connect(address) === "in-progress") await socket.connected({ deadlineMs: 1000 });
  WAYS[way](socket);
  await sleep(SETTLE_MS);
  const state = stateOf(port);
  const plain = listenRefusal(address) ?? "starts";
  const reuse = listenRefusal(address, { reuseAddress: true }) ?? "starts";
  socket.reset();
  return { state, plain, reuse };
}

function stateOf(port: number): string {
  try {
    return findFourTuple(loopback(port), loopback(port))[0]?.state ?? "nothing left";
  } catch (error) {
    if (error instanceof SocketError) throw error;
    return "no socket table here";
  }
}
