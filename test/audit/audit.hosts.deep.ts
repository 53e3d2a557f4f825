/** The audit's verdicts against random hosts, for MINUTES (default 1). SEED repeats a run. */
import { expect, test } from "vitest";
import { random } from "../support/harness.ts";
import type { AuditsResult } from "../support/hosts.ts";
import { auditHosts } from "../support/hosts.ts";

const MINUTES = Number(process.env.MINUTES ?? 1);
/** Each run is a process of its own, with a seed of its own. */
const ROUND_MS = 30_000;
const MOST_PORTS = 300;

test("random hosts", { timeout: (MINUTES + 5) * 60_000 }, async () => {
  const { seed } = random();
  const results: AuditsResult[] = [];
  const rounds = Math.max(1, Math.round((MINUTES * 60_000) / ROUND_MS));
  for (let round = 0; round < rounds; round++) {
    results.push(await auditHosts(seed + round, ROUND_MS, MOST_PORTS));
  }
  const counts: Record<string, number> = {};
  for (const { risk } of results.flatMap(({ trials }) => trials)) counts[risk] = (counts[risk] ?? 0) + 1;
  const hosts = results.reduce((sum, result) => sum + result.hosts, 0);
  console.log(`SEED=${seed}: ${hosts} hosts, ${JSON.stringify(counts)}`);
  expect(results.flatMap(({ wrong }) => wrong)).toEqual([]);
  for (const risk of ["at-risk", "bind-first", "held", "safe"]) expect(counts[risk], risk).toBeGreaterThan(0);
});
