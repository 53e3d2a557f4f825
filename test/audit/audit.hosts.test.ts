/** The audit's verdicts against random hosts, for a few seconds; minutes are in audit.hosts.deep.ts. */
import { expect, test } from "vitest";
import { needsNamespaces, random } from "../support/harness.ts";
import { auditHosts } from "../support/hosts.ts";

test("clients get the ports that the audit says they get, and no others", async (context) => {
  needsNamespaces(context);
  const { seed } = random();
  const { trials, wrong } = await auditHosts(seed, 4000, 60);
  expect(wrong, `SEED=${seed}`).toEqual([]);
  expect(trials.map(({ risk }) => risk)).toEqual(expect.arrayContaining(["at-risk", "safe"]));
});
