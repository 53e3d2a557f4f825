/** How long a reconnect loop takes to a self-connect: the main job, by each strategy, cold and chained. */
import type { Strategy } from "../../socket/strategy.ts";
import { STRATEGIES } from "../../socket/strategy.ts";
import type { Experiment, Subject } from "../experiment.ts";
import { ABSENT, hasPortRange, walkOf } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { groupByWord, loopback, RANGE } from "../instruments.ts";
import { lackOfPortRange } from "../option-state.ts";
import type { MeasuredTrials } from "../waits.ts";
import { countWaits, WAIT_STARTS } from "../waits.ts";

/** Times the ports of one parity: the longest of a million trials is shorter on every known walk. */
const ATTEMPTS_PER_PORT = 12;

export const waits: Experiment = {
  name: "waits",
  isSlow: true,
  question: "How many attempts and how long until a self-connect, by strategy, cold and chained?",
  expected: expectedWords,
  run: async (instruments) => {
    const lack = await lackOfPortRange(instruments);
    return instruments.withRange(RANGE, async () => {
      const words = new Map<Strategy, string>();
      const counts: Record<string, number> = {};
      for (const strategy of STRATEGIES) {
        const isLacking = strategy === "range" && lack !== null;
        const measured = isLacking ? [] : await measure(instruments, strategy);
        for (const [at, trials] of measured.entries())
          Object.assign(counts, countWaits(strategy, WAIT_STARTS[at]!, trials));
        words.set(strategy, isLacking ? lack : wordOf(measured));
      }
      return { answer: groupByWord(words), counts };
    });
  },
};

/** The cold trials, each to a port of its own, then the chained ones, all to the port of the last cold one. */
async function measure(instruments: Instruments, strategy: Strategy): Promise<MeasuredTrials[]> {
  // bind(2) to port 0 picks ports of the other parity.
  const findPort = () => instruments.findPort(strategy === "autobind" ? "other" : "low");
  let port = findPort();
  const cold = await measureTrials(instruments, strategy, () => {
    port = findPort();
    return port;
  });
  // Where no trial ends, those at the same port do not either.
  if (cold.attempts.length === 0) return [cold];
  return [cold, await measureTrials(instruments, strategy, () => port)];
}

async function measureTrials(
  instruments: Instruments,
  strategy: Strategy,
  choosePort: () => number,
): Promise<MeasuredTrials> {
  const [attempts, ms]: [number[], number[]] = [[], []];
  const most = ATTEMPTS_PER_PORT * instruments.portsOfParity;
  let trials = 0;
  while (trials < instruments.trials) {
    trials++;
    const result = await instruments.runLoop(loopback(choosePort()), strategy, most);
    if (result.verdict !== "self-connect") break; // On every known walk none ends then.
    attempts.push(result.attempts);
    ms.push(result.elapsedMs);
  }
  return { trials, attempts, ms };
}

function wordOf(measured: readonly MeasuredTrials[]): string {
  const isAlways = measured.every(({ trials, attempts }) => attempts.length === trials);
  const isNever = measured.every(({ attempts }) => attempts.length === 0);
  return isAlways ? ALWAYS : isNever ? "never" : "sometimes";
}

const ALWAYS = "always";

function expectedWords(subject: Subject): string | null {
  if (walkOf(subject) === null) return null;
  const lack = hasPortRange(subject) ? ALWAYS : ABSENT;
  return groupByWord(new Map(STRATEGIES.map((strategy) => [strategy, strategy === "range" ? lack : ALWAYS])));
}
