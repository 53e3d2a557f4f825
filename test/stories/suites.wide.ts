/**
 * The tests of another package (SUITE) from its source tree (SUITE_SOURCE): under register they pass wherever they pass
 * without it. `npm run check:wide -- suites` runs it in a network namespace for each suite.
 */
import { expect, it } from "vitest";
import { Service } from "../support/servers.ts";
import { runSuite, SUITES } from "../support/suites.mjs";

const TIMEOUT_MS = 3 * 3_600_000;
const suite = SUITES.find(({ name }) => name === process.env.SUITE)!;

it(`the tests of ${suite.name} pass under register`, { timeout: TIMEOUT_MS }, async (context) => {
  const { server } = suite;
  await using service = server && new Service(server.name, context, "", server.port);
  await service?.start();
  const environment = server?.portVariable ? { [server.portVariable]: `${service!.port}` } : {};
  const { files, without, under, ours } = await runSuite(suite, process.env.SUITE_SOURCE!, environment);
  console.log(`| ${suite.name} | ${files} | ${without} | ${under} |`);
  expect(without).toBeGreaterThan(files);
  expect(ours).toEqual([]);
});
