/** bind(address, 0) and connect() on several threads at once: they look for ports on opposite sides of one range. */
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";
import { parityWords } from "../walk.ts";

const ATTEMPTS = 300;
/** Loops of each kind; each has a thread of its own. */
const LOOPS = 2;

export const threads: Experiment = {
  name: "threads",
  isSlow: true,
  question: "bind() to port 0 and connect() on four threads at once: which ports, and does an attempt fail?",
  expected: (subject) => walkOf(subject) && "connect(): low end's parity; bind(): other parity; none fails",
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const peer = loopback(instruments.findPortOutside());
      const kinds = ["fresh", "autobind"] as const;
      const loops = kinds.flatMap((kind) =>
        Array.from({ length: LOOPS }, () => instruments.recordWalk(peer, ATTEMPTS, kind)),
      );
      const walks = await Promise.all(loops);
      const [connects, binds] = [walks.slice(0, LOOPS).flat(), walks.slice(LOOPS).flat()];
      const failed = [...connects, ...binds].filter((port) => port === 0).length;
      const words = [connects, binds].map((ports) =>
        parityWords(
          ports.filter((port) => port > 0),
          instruments.range,
        ),
      );
      return {
        answer: `connect(): ${words[0]}; bind(): ${words[1]}; ${failed === 0 ? "none fails" : "some fail"}`,
        counts: {
          threads: 2 * LOOPS,
          connects: connects.length,
          binds: binds.length,
          failed,
          distinctOfConnect: new Set(connects).size,
          distinctOfBind: new Set(binds).size,
        },
      };
    }),
};
