/** Both engines need the same number of attempts to a self-connect. */
import { expect, it } from "vitest";
import type { Engine } from "../../lib/loop/engine.ts";
import { ReconnectLoop } from "../../lib/loop/reconnect.ts";
import { kolmogorovTest } from "../../lib/loop/two-samples.ts";
import type { Strategy } from "../../lib/socket/strategy.ts";
import { deadPeer } from "../support/harness.ts";

const TRIALS = 500;
/** Of three comparisons one is below this once in 300 runs. */
const LEAST_P = 0.001;

async function countAttempts(strategy: Strategy, engine: Engine): Promise<number> {
  const peer = deadPeer(4, strategy === "autobind" ? "other" : "connect");
  const { verdict, attempts, socket } = await new ReconnectLoop({
    peer,
    strategy,
    engine,
    attempts: 5_000_000,
  }).run();
  socket?.reset();
  expect(verdict).toBe("self-connect");
  return attempts;
}

it.each(["fresh", "reuse", "autobind"] as const)("%s by io_uring needs as many attempts as by system calls", {
  timeout: 1_200_000,
}, async (strategy) => {
  const counts: Record<Engine, number[]> = { plain: [], io_uring: [] };
  for (let trial = 0; trial < TRIALS; trial++) {
    for (const engine of ["plain", "io_uring"] as const)
      counts[engine].push(await countAttempts(strategy, engine));
  }
  const { p } = kolmogorovTest(counts.plain, counts.io_uring);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  console.log(
    `${strategy}: mean ${mean(counts.plain).toFixed(0)} plain, ${mean(counts.io_uring).toFixed(0)} by io_uring; p = ${p.toFixed(3)}`,
  );
  expect(p).toBeGreaterThan(LEAST_P);
});
