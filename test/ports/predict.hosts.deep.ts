/** Predictions against random hosts, for MINUTES (default 1). SEED repeats a run. */
import { expect, test } from "vitest";
import { random } from "../support/harness.ts";
import type { HostsResult } from "../support/hosts.ts";
import { measureHosts } from "../support/hosts.ts";

const MINUTES = Number(process.env.MINUTES ?? 1);
/** Each host is a process of its own, with a seed of its own. */
const ROUND_MS = 60_000;
/** So many hosts at a slow pace cost less than one at full speed. */
const SLOW_HOSTS = 8;

test("random hosts", { timeout: (MINUTES + 10) * 60_000 }, async () => {
  const { seed } = random();
  console.log(`SEED=${seed}, ${MINUTES} minutes`);
  const results: HostsResult[] = [];
  const endsAt = performance.now() + MINUTES * 60_000;
  // By the clock: on a busy machine a round takes longer than it should.
  for (let round = 0; round === 0 || performance.now() < endsAt; round++) {
    const first = seed + round * SLOW_HOSTS;
    if (round % 4 === 1) results.push(...(await measureSlowHosts(first)));
    else results.push(await measureHosts(first, ROUND_MS, round % 4 === 3 ? 30_000 : 2000));
    // After each round: a run that is ended has said what it found.
    console.log(`round ${round + 1}: ${summaryOf(results)}`);
  }
  expect(results.flatMap(suspectsOf)).toEqual([]);
});

function summaryOf(results: readonly HostsResult[]): string {
  const sum = (count: (result: HostsResult) => number) => results.reduce((all, one) => all + count(one), 0);
  const suspects = results.flatMap(suspectsOf);
  return (
    `${sum(({ hosts }) => hosts)} hosts, ${sum(({ trials }) => trials)} trials, ` +
    `${sum(({ nevers }) => nevers)} of them never; ${suspects.length} suspects ${suspects.join("\n")}`.trimEnd()
  );
}

/** From once to 20 times a second, by up to four clients. */
function measureSlowHosts(firstSeed: number): Promise<HostsResult[]> {
  const seeds = Array.from({ length: SLOW_HOSTS }, (_, index) => firstSeed + index);
  return Promise.all(seeds.map((seed) => measureHosts(seed, ROUND_MS, 2000, "slow")));
}

function suspectsOf({ seed, wrong, fits }: HostsResult): string[] {
  const bad = Object.entries(fits).filter(([, p]) => p < 1e-5);
  return [...wrong, ...bad.map(([name, p]) => `seed ${seed}, ${name}: p = ${p}`)];
}
