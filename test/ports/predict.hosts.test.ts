/**
 * Predictions against some random hosts, always the same: ranges, reserved ports and holders of every kind. Their number
 * does not depend on the load. Others, for hours: predict.hosts.deep.ts.
 */
import { expect, test } from "vitest";
import { needsNamespaces } from "../support/harness.ts";
import { measureHosts } from "../support/hosts.ts";

const SEED = 1;
const HOSTS = 15;
const MOST_PORTS = 200;

test("no self-connect where never was predicted, one where not, and as soon as predicted", {
  timeout: 120_000,
}, async (context) => {
  needsNamespaces(context);
  const { hosts, trials, nevers, wrong, fits } = await measureHosts(SEED, 0, MOST_PORTS, "fast", HOSTS);
  expect(wrong).toEqual([]);
  expect(nevers).toBeGreaterThan(0);
  expect(trials).toBeGreaterThan(nevers);
  // A host is left out when one of its ports was freed meanwhile.
  expect(hosts).toBeGreaterThan(HOSTS / 2);
  // A right prediction fits so badly once in 100,000 runs.
  expect(fits.all).toBeGreaterThan(1e-5);
});
