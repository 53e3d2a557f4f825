/**
 * Attempts per second by each strategy and engine, and their ratio to a loop of arithmetic, which roughly cancels the
 * cost of an emulator.
 */

import type { Engine } from "../../loop/engine.ts";
import { SocketError } from "../../socket/errors.ts";
import type { Strategy } from "../../socket/strategy.ts";
import type { Experiment } from "../experiment.ts";
import { COUNTED } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { loopback, RANGE } from "../instruments.ts";

const ATTEMPTS = 2000;
const ROUNDS = 3;
const LOOP = 2_000_000;
/** At a port outside the range none of these connects to itself: every attempt costs the same. */
const STRATEGIES: readonly Strategy[] = ["fresh", "reuse", "autobind"];
const ENGINES: readonly Engine[] = ["plain", "io_uring"];

export const rate: Experiment = {
  name: "rate",
  isSlow: true,
  question:
    "How many attempts a second does one thread make, by strategy and engine (three rounds, the best)?",
  expected: () => null,
  run: (instruments) =>
    instruments.withRange(RANGE, async () => {
      let loops = 0;
      const best = new Map<string, number>();
      const missing = new Map<string, string>();
      for (let round = 0; round < ROUNDS; round++) {
        // One right after the other, so that the machine is in the same state for all.
        loops = Math.max(loops, measureLoops());
        for (const strategy of STRATEGIES) {
          for (const engine of ENGINES) {
            const name = `${strategy} ${engine}`;
            const found = await measure(instruments, strategy, engine);
            if (typeof found === "string") missing.set(name, found);
            else best.set(name, Math.max(best.get(name) ?? 0, found));
          }
        }
      }
      const texts = [...best].map(([name, attempts]) => {
        const relative = Number(((attempts / loops) * 1e6).toPrecision(2));
        return `${name} ${Math.round(attempts)} a second (${relative} in the time of 1,000,000 loops)`;
      });
      return {
        answer: COUNTED,
        figure: [...texts, ...[...missing].map(([name, because]) => `${name}: ${because}`)].join("; "),
        counts: { ...Object.fromEntries(best), loopsPerSecond: loops },
      };
    }),
};

/** Attempts per second; or why this kernel has no such engine. */
async function measure(
  instruments: Instruments,
  strategy: Strategy,
  engine: Engine,
): Promise<number | string> {
  try {
    const peer = loopback(instruments.findPortOutside());
    return (await instruments.runLoop(peer, strategy, ATTEMPTS, engine)).attemptsPerSecond;
  } catch (error) {
    if (engine === "io_uring" && error instanceof SocketError) return error.code;
    throw error;
  }
}

/** The calibration: a loop of integer arithmetic whose result is used. */
function measureLoops(): number {
  const startedAt = performance.now();
  let value = 1;
  for (let i = 0; i < LOOP; i++) value = (Math.imul(value, 1_664_525) + 1_013_904_223) | 0;
  const elapsedMs = performance.now() - startedAt;
  return value === 0 ? 0 : (LOOP * 1000) / elapsedMs;
}
