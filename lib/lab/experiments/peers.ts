/** At which of this host's addresses a plain connect can be joined to itself: IPv4, IPv6, and IPv4-mapped. */
import { toAddress } from "../../socket/address.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";

const HOSTS = ["127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "127.0.0.2"];

export const peers: Experiment = {
  name: "peers",
  question: "With one port to choose from: at which addresses is a plain connect() joined to itself?",
  expected: (subject) => {
    if (!walkOf(subject)) return null;
    return !subject.hasIpv6 ? "127.0.0.1, 0.0.0.0" : "127.0.0.1, 0.0.0.0, ::1, ::ffff:127.0.0.1";
  },
  run: async (instruments) => {
    const counts: Record<string, number> = {};
    const joined: string[] = [];
    for (const host of HOSTS) {
      const port = instruments.findPort();
      await instruments.withPort(port, async () => {
        const { outcome } = await instruments.connectOnce(toAddress(host, port));
        counts[`${host} ${outcome}`] = 1;
        if (outcome === "self-connect") joined.push(host);
      });
    }
    return { answer: joined.join(", ") || "none", counts };
  },
};
