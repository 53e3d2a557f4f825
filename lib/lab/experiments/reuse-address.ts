/** SO_REUSEADDR and a listener: whether a second socket may bind the port of another. */
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, outcomeOf, RANGE } from "../instruments.ts";

export const reuseAddress: Experiment = {
  name: "reuse-address",
  question:
    "Both with SO_REUSEADDR: may a second socket bind the port of a bound one, and of a listening one?",
  expected: (subject) => (walkOf(subject) ? "bound: yes; listening: EADDRINUSE" : null),
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const peer = loopback(instruments.findPort());
      using first = TcpSocket.open(4, { reuseAddress: true }).bind(peer);
      const bound = await bindSecond(peer);
      first.listen();
      const listening = await bindSecond(peer);
      return { answer: `bound: ${bound}; listening: ${listening}`, counts: { binds: 3 } };
    }),
};

function bindSecond(local: ReturnType<typeof loopback>): Promise<string> {
  using second = TcpSocket.open(4, { reuseAddress: true });
  return outcomeOf(() => second.bind(local) && "yes");
}
