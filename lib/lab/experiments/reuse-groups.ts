/** SO_REUSEADDR and SO_REUSEPORT on a bound socket: who else gets its port. inet_csk_bind_conflict in Linux. */
import { bindRefusal } from "../../socket/listen-refusal.ts";
import type { SocketOptions } from "../../socket/options.ts";
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { loopback } from "../instruments.ts";

const GROUPS: Readonly<Record<string, Partial<SocketOptions>>> = {
  "SO_REUSEADDR alone": { reuseAddress: true },
  "SO_REUSEPORT alone": { reusePort: true },
  "both options": { reuseAddress: true, reusePort: true },
};
const LINUX = "connect() no, bind(0) no, bind(P) yes";

export const reuseGroups: Experiment = {
  name: "reuse-groups",
  question: "A bound socket has the option: does its port go to a connect(), to a bind() with the option?",
  expected: (subject) => {
    const expected = Object.keys(GROUPS).map((name) => `${name}: ${LINUX}`);
    return walkOf(subject) && expected.join("; ");
  },
  run: async (instruments) => {
    const words: string[] = [];
    const counts: Record<string, number> = {};
    for (const [name, options] of Object.entries(GROUPS)) {
      const ends = await shareWith(instruments, options);
      for (const [call, end] of Object.entries(ends)) counts[`${name}, ${call}: ${end}`] = 1;
      words.push(`${name}: ${Object.entries(ends).map(describe).join(", ")}`);
    }
    return { answer: words.join("; "), counts };
  },
};

async function shareWith(
  instruments: Instruments,
  options: Partial<SocketOptions>,
): Promise<Record<string, string>> {
  const port = instruments.findPort();
  const dead = instruments.findPortOutside();
  using _holder = TcpSocket.open(4, options).bind(loopback(port));
  const bind = (local: number) => bindRefusal(loopback(local), options) ?? "picked";
  return {
    "connect()": await instruments.pickFrom(port, loopback(dead)),
    "bind(0)": await instruments.withPort(port, async () => bind(0)),
    "bind(P)": bind(port),
  };
}

function describe([call, end]: readonly [string, string]): string {
  return `${call} ${end === "picked" ? "yes" : "no"}`;
}
