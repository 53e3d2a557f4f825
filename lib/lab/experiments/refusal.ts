/** A refused nonblocking connect: which errno, and when. */
import { TcpSocket } from "../../socket.ts";
import { loopback, outcomeOf, RANGE } from "../bench.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";

export const refusal: Experiment = {
  name: "refusal",
  question: "What does a refused nonblocking connect() give, when, and does the port stay to be seen?",
  expected: (subject) =>
    walkOf(subject) && "in-progress, ECONNREFUSED pending at once, port seen before and after",
  run: (bench) =>
    bench.withRange(RANGE, async () => {
      using socket = TcpSocket.open(4);
      const peer = loopback(bench.outside());
      const first = await outcomeOf(() => socket.connect(peer));
      const before = socket.getsockname().port;
      const pending = socket.takeError()?.code;
      const later =
        pending ??
        (await outcomeOf(async () => (await socket.connected({ deadlineMs: 1000 })) && "connected"));
      const after = socket.getsockname().port;
      const seen = before > 0 && after === before ? "port seen before and after" : seenWords(before, after);
      return {
        answer: `${first}, ${later} ${pending ? "pending at once" : "later"}, ${seen}`,
        counts: { localPortBefore: before, localPortAfter: after },
      };
    }),
};

function seenWords(before: number, after: number): string {
  if (before === 0 && after === 0) return "port never seen";
  return before > 0 ? "port seen before only" : "port seen after only";
}
