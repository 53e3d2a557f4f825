/** Attempts by parity: the main question, for every kernel. */
import { summarize } from "../../loop/statistics.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";

/** Times the ports of one parity: the longest of a million trials is shorter on every known walk. */
const ATTEMPTS_PER_PORT = 12;
const PATIENCE_PER_PORT = 3;

export const parity: Experiment = {
  name: "parity",
  question: "Does a plain reconnect loop get joined to itself, by the parity of its destination?",
  expected: (subject) =>
    subject.machine === "gvisor" ? "never" : walkOf(subject) && "low end's parity always, other parity never",
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const ports = instruments.portsOfParity;
      const attempts: number[] = [];
      for (let trial = 0; trial < instruments.trials; trial++) {
        // A new port each time: a cold start.
        const result = await instruments.runLoop(
          loopback(instruments.findPort()),
          "fresh",
          ATTEMPTS_PER_PORT * ports,
        );
        if (result.verdict === "self-connect") attempts.push(result.attempts);
        else if (trial === 1 && attempts.length === 0) break; // One trial is enough on every known walk.
      }
      const other = await instruments.runLoop(
        loopback(instruments.findPort("other")),
        "fresh",
        PATIENCE_PER_PORT * ports,
      );
      const summary = summarize(attempts.map((count) => count / ports));
      const isOther = other.verdict === "self-connect";
      return {
        answer: wordsOf(attempts.length === instruments.trials, attempts.length > 0, isOther),
        ...(summary && {
          figure: `mean ${summary.mean.toFixed(2)}, median ${summary.median.toFixed(2)} × the ports of a parity`,
        }),
        counts: {
          ports,
          trials: instruments.trials,
          selfConnects: attempts.length,
          otherAttempts: other.attempts,
          otherSelfConnects: isOther ? 1 : 0,
        },
        samples: { plot: "distribution", unit: `attempts (of ${ports} ports)`, values: attempts },
      };
    }),
};

function wordsOf(always: boolean, ever: boolean, other: boolean): string {
  if (!ever && !other) return "never";
  const low = always ? "always" : ever ? "sometimes" : "never";
  return `low end's parity ${low}, other parity ${other ? "too" : "never"}`;
}
