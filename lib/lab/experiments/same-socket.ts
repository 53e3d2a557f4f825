/** What a second connect() on a refused socket returns. */
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, outcomeOf, RANGE, tally } from "../instruments.ts";

const AGAIN = 8;

export const sameSocket: Experiment = {
  name: "same-socket",
  question: "After a refusal, may the same socket connect again, and from which port?",
  expected: (subject) => {
    if (subject.machine === "gvisor") return "no: ECONNABORTED";
    return walkOf(subject) && "yes, from a new port each time";
  },
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const peer = loopback(instruments.findPortOutside());
      using socket = TcpSocket.open(4);
      const outcomes: string[] = [];
      const ports: number[] = [];
      for (let i = 0; i < AGAIN; i++) {
        outcomes.push(await outcomeOf(() => connectAgain(socket, peer)));
        ports.push(socket.getsockname().port);
      }
      const distinct = new Set(ports).size;
      const isNew = distinct > AGAIN / 2;
      const isAllowed = outcomes.slice(1).every((outcome) => outcome === "ECONNREFUSED");
      const words = isNew ? "yes, from a new port each time" : "yes, from the same port";
      return {
        answer: isAllowed ? words : `no: ${[...new Set(outcomes.slice(1))].join(", ")}`,
        counts: { connects: AGAIN, distinctPorts: distinct, ...tally(outcomes) },
      };
    }),
};

/** On Linux connect() fails once with ECONNABORTED after SO_ERROR was read, and then works again. */
async function connectAgain(socket: TcpSocket, peer: ReturnType<typeof loopback>): Promise<string> {
  const wait = () => socket.connected({ deadlineMs: 1000 });
  const first = await outcomeOf(() => socket.connect(peer));
  if (first !== "in-progress" && first !== "ECONNABORTED") return first;
  if (first === "ECONNABORTED" && socket.connect(peer) !== "in-progress") return "connected";
  await wait();
  return "connected";
}
