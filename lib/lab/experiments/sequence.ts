/** Whether connects to another destination advance the walk. */

import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";

const ROUNDS = 60;
const OTHERS = 3;

export const sequence: Experiment = {
  name: "sequence",
  question: "Do connects to another destination move the walk towards this one?",
  expected: (subject) => {
    const walk = walkOf(subject);
    if (walk === "one hint") return "yes: one walk for all";
    return walk === "large table" ? "no: each destination has its own" : null;
  },
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const port = instruments.findPortOutside();
      const alone = await meanStep(() => instruments.connectOnce(loopback(port)), instruments.range);
      const besides = await meanStep(async () => {
        for (let i = 0; i < OTHERS; i++) await instruments.connectOnce(loopback(port - 7));
        return instruments.connectOnce(loopback(port));
      }, instruments.range);
      const factor = besides / alone;
      const words = factor > 2 ? "yes: one walk for all" : "no: each destination has its own";
      return {
        // Independent picks have a mean step of half the range, with or without other connects.
        answer: alone > (RANGE.high - RANGE.low) / 8 ? "no walk to move" : words,
        figure: `mean step ${alone.toFixed(1)} alone, ${besides.toFixed(1)} with ${OTHERS} other connects between`,
        counts: { rounds: ROUNDS, meanStepAlone: alone, meanStepBesides: besides },
      };
    }),
};

/** The mean step without the largest, which a new salt may make. A median would hide a shared walk's spread. */
async function meanStep(
  attempt: () => Promise<{ localPort: number }>,
  { low, high }: { low: number; high: number },
): Promise<number> {
  const ports: number[] = [];
  for (let i = 0; i < ROUNDS; i++) ports.push((await attempt()).localPort);
  const size = high - low + 1;
  const taken = ports.slice(1).map((port, i) => (port - ports[i]! + size) % size);
  taken.sort((a, b) => a - b).pop();
  return taken.reduce((sum, step) => sum + step, 0) / taken.length;
}
