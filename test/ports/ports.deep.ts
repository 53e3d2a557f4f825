/** Half a minute of attempts to one peer: a new salt moves the walk every 10 s. */
import os from "node:os";
import { expect, test } from "vitest";
import { fingerprint, samplePorts, supposeAlgorithm } from "../../lib/ports/index.ts";
import { deadPeer } from "../support/harness.ts";

const OBSERVED_MS = 35_000;

test("every 10 s", { timeout: 300_000 }, async (context) => {
  const { name, saltMs } = supposeAlgorithm("connect", os.release());
  if (saltMs === null) context.skip(`this is Linux ${os.release()}, whose ${name} never starts anew`);
  const signal = AbortSignal.timeout(OBSERVED_MS);
  const observation = await samplePorts({ peer: deadPeer(), count: 10_000_000, signal });
  const { attempts, jumps, verdict } = fingerprint(observation);
  console.log(`${attempts} attempts: ${jumps.count} jumps, every ${jumps.everyMs} ms; ${verdict.name}`);
  expect(jumps.count).toBeGreaterThanOrEqual(2);
  // The salt changes at a tick of the kernel's clock; that clock and ours differ by less than a tick.
  expect(Math.abs(jumps.everyMs! - saltMs!)).toBeLessThan(saltMs! / 20);
  expect(verdict.name).toBe(name);
});
