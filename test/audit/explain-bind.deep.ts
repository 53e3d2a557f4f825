/** explainBind() beside random holders, for MINUTES (default 1): it says what bind(2), listen(2) and Node do. */
import { expect, test } from "vitest";
import type { Holding } from "../support/bind-scenarios.ts";
import {
  ASKED,
  describeScenario,
  HOSTS,
  judge,
  judgePlanted,
  OPTIONS,
  ROLES,
} from "../support/bind-scenarios.ts";
import { random } from "../support/harness.ts";
import { PLANTINGS, removeHolders } from "../support/holders.ts";

const MINUTES = Number(process.env.MINUTES ?? 1);
const MOST_HOLDINGS = 3;

test("each kind of holder, at each address", { timeout: 10 * 60_000 }, async () => {
  const wrong: string[] = [];
  for (const { title, plant } of PLANTINGS) {
    for (const asked of ASKED) {
      const found = await judgePlanted(async (use) => {
        const { port, close } = await plant();
        try {
          return await use(port);
        } finally {
          close();
          removeHolders();
        }
      }, asked);
      wrong.push(...found.map((what) => `${asked ?? "a port alone"} beside ${title}: ${what}`));
    }
  }
  expect(wrong).toEqual([]);
});

test("random holders", { timeout: (MINUTES + 5) * 60_000 }, async () => {
  const { next, seed } = random();
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const wrong: string[] = [];
  const endsAt = performance.now() + MINUTES * 60_000;
  let count = 0;
  for (; performance.now() < endsAt; count++) {
    const holdings = Array.from({ length: 1 + Math.floor(next() * MOST_HOLDINGS) }, (): Holding => {
      const host = pick(HOSTS);
      const ipv6Only = host === "::" && next() < 0.5;
      return { role: pick(ROLES), host, options: { ...pick(OPTIONS), ...(ipv6Only && { ipv6Only }) } };
    });
    const asked = pick(ASKED);
    const found = await judge(holdings, asked);
    wrong.push(...found.map((what) => `${describeScenario(holdings, asked)}: ${what}`));
  }
  console.log(`SEED=${seed}: ${count} scenarios, ${wrong.length} wrong`);
  expect(wrong).toEqual([]);
});
