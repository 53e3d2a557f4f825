/**
 * A bind(2) to a port that connect() chose closes the port to other connects. Before 6.18 it stays closed after that
 * socket is gone, as long as the connection lives ("tcp: Update bind bucket state on port release").
 */

import { isAtLeast } from "../../kernel/release.ts";
import { toAddress } from "../../socket/address.ts";
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { completeConnect, loopback } from "../instruments.ts";

/** Another address of this host, so that both may have the port. */
const ELSEWHERE = "127.0.0.2";

export const staleBucket: Experiment = {
  name: "stale-bucket",
  question:
    "A socket at another address binds a connection's port, and closes: is it picked before, meanwhile, afterwards?",
  expected: (subject) => walkOf(subject) && `yes, no, ${isAtLeast(subject.upstream, "6.18") ? "yes" : "no"}`,
  run: async (instruments) => {
    using listener = instruments.listenOutside();
    const [port, other] = [instruments.findPort(), loopback(instruments.findPortOutside())];
    using used = TcpSocket.open(4);
    await instruments.withPort(port, () => completeConnect(used, listener.getsockname()));
    const ends = [await instruments.pickFrom(port, other)];
    using binder = TcpSocket.open(4).bind(toAddress(ELSEWHERE, port));
    ends.push(await instruments.pickFrom(port, other));
    binder.close();
    ends.push(await instruments.pickFrom(port, other));
    used.reset();
    const [before, meanwhile, afterwards] = ends as [string, string, string];
    return {
      answer: ends.map((end) => (end === "picked" ? "yes" : "no")).join(", "),
      counts: {
        [`before: ${before}`]: 1,
        [`meanwhile: ${meanwhile}`]: 1,
        [`afterwards: ${afterwards}`]: 1,
      },
    };
  },
};
