/** Where the walks to destinations start to which nobody has connected since the kernel was booted. */
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback, RANGE } from "../instruments.ts";

const DESTINATIONS = 64;
/** 64 independent ports miss more than 5 of 16 equal parts of a range once in more than a million runs. */
const PARTS = 16;
const FEWEST_PARTS = 11;

export const firstPorts: Experiment = {
  name: "first-ports",
  isSlow: true,
  question:
    "The first port to each of 64 destinations: can it be foreseen, or does each walk start anywhere?",
  expected: (subject) => (walkOf(subject) ? "anywhere in the range" : null),
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      const { low, high } = instruments.range;
      const highest = instruments.findPortOutside();
      const ports: number[] = [];
      for (let i = 0; i < DESTINATIONS; i++) {
        ports.push((await instruments.connectOnce(loopback(highest - i))).localPort);
      }
      const parts = new Set(ports.map((port) => Math.floor(((port - low) * PARTS) / (high - low + 1)))).size;
      return {
        answer: parts >= FEWEST_PARTS ? "anywhere in the range" : "near each other",
        figure: `the first of all: ${ports[0]}`,
        counts: { destinations: DESTINATIONS, parts, ofParts: PARTS, first: ports[0]! },
      };
    }),
};
