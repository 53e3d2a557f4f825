/** A refused nonblocking connect: which errno, and when. */
import type { Address } from "../../socket/address.ts";
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, outcomeOf, RANGE, tally } from "../instruments.ts";

/** Many, because a stack that refuses on its own threads is sometimes as fast as one that refuses at once. */
const ATTEMPTS = 200;
const AT_ONCE = "in-progress, ECONNREFUSED at once";

export const refusal: Experiment = {
  name: "refusal",
  question: "What does a refused nonblocking connect() give, when, and does the port stay to be seen?",
  expected: (subject) => walkOf(subject) && "in-progress, ECONNREFUSED at once; port seen before and after",
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const peer = loopback(instruments.findPortOutside());
      const ways: string[] = [];
      const views: string[] = [];
      for (let i = 0; i < ATTEMPTS; i++) {
        const { way, view } = await observeRefusal(peer);
        ways.push(way);
        views.push(view);
      }
      const counts = tally([...ways, ...views]);
      const way = [...new Set(ways)].sort().join(", or ");
      return {
        answer: `${way}; ${[...new Set(views)].sort().join(", or ")}`,
        figure: `at once ${counts[AT_ONCE] ?? 0} times of ${ATTEMPTS}`,
        counts,
      };
    }),
};

async function observeRefusal(peer: Address): Promise<{ way: string; view: string }> {
  using socket = TcpSocket.open(4);
  const first = await outcomeOf(() => socket.connect(peer));
  const before = socket.getsockname().port;
  const pending = socket.takeError()?.code;
  const later = pending ?? (await outcomeOf(() => awaitConnect(socket)));
  const after = socket.getsockname().port;
  return { way: `${first}, ${later} ${pending ? "at once" : "later"}`, view: viewOf(before, after) };
}

async function awaitConnect(socket: TcpSocket): Promise<string> {
  await socket.connected({ deadlineMs: 1000 });
  return "connected";
}

function viewOf(before: number, after: number): string {
  if (before === 0 && after === 0) return "port never seen";
  if (before > 0 && after === before) return "port seen before and after";
  return before > 0 ? "port seen before only" : "port seen after only";
}
