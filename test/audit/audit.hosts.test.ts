/** The audit's verdicts against a few random hosts, always the same; others, for minutes: audit.hosts.deep.ts. */
import { expect, test } from "vitest";
import { showsBoundSockets } from "../../lib/kernel/port-holders.ts";
import { needsNamespaces } from "../support/harness.ts";
import { auditHosts } from "../support/hosts.ts";

/** One host each, which have between them every verdict. */
const SEEDS = [1, 6];
const MOST_PORTS = 60;

test("clients get the ports that the audit says they get, and no others", async (context) => {
  needsNamespaces(context);
  if (!showsBoundSockets())
    context.skip("Linux before 6.8 does not list sockets that are bound and do nothing");
  const risks: string[] = [];
  for (const seed of SEEDS) {
    const { trials, wrong } = await auditHosts(seed, 0, MOST_PORTS);
    expect(wrong).toEqual([]);
    risks.push(...trials.map(({ risk }) => risk));
  }
  expect(new Set(risks)).toEqual(new Set(["at-risk", "bind-first", "held", "safe"]));
});
