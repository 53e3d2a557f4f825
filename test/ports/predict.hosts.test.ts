/** Predictions against random hosts: ranges, reserved ports and holders of every kind. The hours are in predict.hosts.deep.ts. */
import { expect, test } from "vitest";
import { needsNamespaces, random } from "../support/harness.ts";
import { measureHosts } from "../support/hosts.ts";

test("no self-connect where never was predicted, one where not, and as soon as predicted", async (context) => {
  needsNamespaces(context);
  const { seed } = random();
  const { trials, nevers, wrong, fits } = await measureHosts(seed, 6000, 200);
  expect(wrong, `SEED=${seed}`).toEqual([]);
  expect(nevers).toBeGreaterThan(0);
  expect(trials).toBeGreaterThan(nevers);
  // A right prediction fits so badly once in 100,000 runs.
  expect(fits.all, `SEED=${seed}`).toBeGreaterThan(1e-5);
});
