/** Many simulated hosts of every kind: none is named wrongly. */
import { expect, test } from "vitest";
import { judgeHosts } from "../support/port-captures.ts";
import { PORT_HOSTS } from "../support/port-hosts.ts";

const HOSTS = 10_000;

test(`${HOSTS} simulated hosts: 0 wrong names`, { timeout: 3_600_000 }, async () => {
  const firstSeed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  console.log(`SEED=${firstSeed}`);
  const { wrong, named } = await judgeHosts(firstSeed, HOSTS);
  expect(wrong).toEqual([]);
  expect(named).toBeGreaterThan((HOSTS / PORT_HOSTS.length) * 2);
});
