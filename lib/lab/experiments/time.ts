/** Time: a keyed hash of jiffies / 10 s moves the start of the walk. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import { loopback } from "../instruments.ts";
import { isSuddenMove, stepsOf } from "../walk.ts";

const EVERY_MS = 500;
/** Longer than one period of the salt, so that it changes at least once. */
const LASTS_MS = 11_500;

export const time: Experiment = {
  name: "time",
  isSlow: true,
  question: "Does the next port move suddenly with time, while attempts are made twice a second for 11.5 s?",
  expected: (subject) => {
    const walk = walkOf(subject);
    if (walk === "large table") return "yes, within 10 s";
    return walk === "one hint" && !subject.upstream.startsWith("5.10.") ? "no" : null;
  },
  // Uses the kernel's default range, because a sudden move inside a small range could look like a step.
  run: async (instruments) => {
    const peer = loopback(instruments.findPortOutside());
    const ports: number[] = [];
    for (let spentMs = 0; spentMs < LASTS_MS; spentMs += EVERY_MS) {
      ports.push((await instruments.connectOnce(peer)).localPort);
      await sleep(EVERY_MS);
    }
    const moves = stepsOf(ports, instruments.range).filter(isSuddenMove).length;
    const isRandom = moves > ports.length / 2;
    return {
      answer: isRandom ? "every attempt does" : moves > 0 ? "yes, within 10 s" : "no",
      counts: { attempts: ports.length, moves },
    };
  },
};
