/** The prediction against 200 real self-connects by each method, in this host's ephemeral range. Takes minutes. */
import { expect, test } from "vitest";
import { METHODS } from "../../lib/ports/index.ts";
import { cli } from "../support/harness.ts";

test.for(METHODS)("200 by %s", { timeout: 900_000 }, async (method) => {
  const peer = method === "bind" ? "127.0.0.1:50001" : "127.0.0.1:50000";
  const { stdout } = await cli(["predict", peer, "--method", method, "--check", "200", "--json"]);
  const { algorithm, check } = JSON.parse(stdout);
  const mean =
    check.trials.reduce((sum: number, { attempts }: { attempts: number }) => sum + attempts, 0) / 200;
  console.log(
    `${method}, ${algorithm}: mean ${Math.round(mean)} of 200 self-connects, ` +
      `${Math.round(check.predictedMean)} predicted; D = ${check.statistic.toFixed(4)}, p = ${check.p.toFixed(3)}`,
  );
  expect(check.trials).toHaveLength(200);
  expect(check.p).toBeGreaterThan(0.001);
});
