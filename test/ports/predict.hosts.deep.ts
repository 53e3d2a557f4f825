/** Predictions against random hosts, for HOSTS_MINUTES (default 60). SEED repeats a run. */
import { expect, test } from "vitest";
import { random } from "../support/harness.ts";
import { measureHosts } from "../support/hosts.ts";

const MINUTES = Number(process.env.HOSTS_MINUTES ?? 60);
/** Each round is a process of its own, with a seed of its own. */
const ROUND_MS = 60_000;

test("random hosts", { timeout: (MINUTES + 10) * 60_000 }, async () => {
  const { seed } = random();
  console.log(`SEED=${seed}, ${MINUTES} minutes`);
  let [hosts, trials, nevers] = [0, 0, 0];
  const suspects: string[] = [];
  const rounds = Math.max(1, Math.round((MINUTES * 60_000) / ROUND_MS));
  for (let round = 0; round < rounds; round++) {
    const result = await measureHosts(seed + round, ROUND_MS, round % 4 === 3 ? 30_000 : 2000);
    hosts += result.hosts;
    trials += result.trials;
    nevers += result.nevers;
    const fits = Object.entries(result.fits).filter(([, p]) => p < 1e-5);
    suspects.push(...result.wrong, ...fits.map(([name, p]) => `seed ${seed + round}, ${name}: p = ${p}`));
  }
  console.log(`${hosts} hosts, ${trials} trials, ${nevers} of them never; ${suspects.length} suspects`);
  expect(suspects).toEqual([]);
});
