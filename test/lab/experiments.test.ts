/** The lab's questions about who gets a port: this kernel answers them as expected, and what is expected of others. */
import os from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import type { Subject } from "../../lib/lab/experiment.ts";
import { findExperiments } from "../../lib/lab/index.ts";
import { inNamespace, needsNamespaces } from "../support/harness.ts";

/** Those that need no seconds; experiments.deep.ts has the others. */
const QUESTIONS = [
  "last-port",
  "reserved-block",
  "other-family",
  "range-bounds",
  "reuse-groups",
  "late-bind-full",
  "connect-bucket",
  "stale-bucket",
  "threads",
  "fast-open",
  "first-ports",
];
const DIST = path.resolve("dist");

test("this kernel answers each as its release should", async (context) => {
  needsNamespaces(context);
  const program = `
    import { findExperiments } from "${DIST}/lab/index.js";
    import { hasIpv6, Instruments } from "${DIST}/lab/instruments.js";
    const subject = { machine: "host", upstream: ${JSON.stringify(os.release())}, hasIpv6: hasIpv6() };
    const lines = [];
    for (const experiment of await findExperiments(${JSON.stringify(QUESTIONS)})) {
      const answer = await experiment.run(new Instruments(2, true)).catch((error) => ({ answer: error.message }));
      lines.push([experiment.name, answer.answer, experiment.expected(subject), Object.keys(answer.counts ?? {}).length]);
    }
    console.log(JSON.stringify(lines));`;
  const { stdout, stderr } = await inNamespace("32768 60999", process.execPath, [
    "--input-type=module",
    "-e",
    program,
  ]);
  expect(stderr).toBe("");
  const lines: [string, string, string | null, number][] = JSON.parse(stdout);
  expect(lines.map(([name]) => name)).toEqual(QUESTIONS);
  for (const [name, answer, expected, counts] of lines) {
    expect(counts, `${name} has raw counts`).toBeGreaterThan(0);
    expect(expected, name).not.toBeNull();
    // Without IPv6 the question about it cannot be asked.
    if (answer !== "no IPv6 here") expect(answer, name).toBe(expected);
  }
});

async function expectedOf(name: string, upstream: string, more: Partial<Subject> = {}) {
  const [experiment] = await findExperiments([name]);
  return experiment!.expected({ machine: "host", upstream, hasIpv6: true, ...more });
}

test.each([
  // "tcp: Update bind bucket state on port release"
  ["stale-bucket", "6.17.13", "yes, no, no"],
  ["stale-bucket", "6.18.0", "yes, no, yes"],
  ["range-bounds", "5.10.223", "not on this kernel"],
  ["range-bounds", "6.1.176", expect.stringMatching(/low end's parity$/)],
  ["range-bounds", "6.8.0", expect.stringMatching(/both parities$/)],
  // A walk in steps of 2 goes through the ports above a block as it does through any.
  ["reserved-block", "5.10.46", "no"],
  ["reserved-block", "5.15.0", "yes, several times as often"],
  ["reserved-block", "5.12.0", null],
  [
    "time-wait-reuse",
    "6.13.12",
    expect.stringMatching(/1: at the next full second.*without timestamps: not[^;]*$/),
  ],
  ["time-wait-reuse", "6.14.0", expect.stringMatching(/1: after 1 s.*delay of 200 ms: after 0.2 s$/)],
  ["jump-phase", "5.10.46", "no jump"],
  ["jump-phase", "5.10.117", null],
  ["jump-phase", "6.12.113", null],
  ["last-port", "3.16", null],
] as const)("%s of Linux %s", async (name, upstream, expected) => {
  expect(await expectedOf(name, upstream)).toEqual(expected);
});

test("User-mode Linux has a HZ of 100, and without IPv6 nothing is expected of another family", async () => {
  expect(await expectedOf("jump-phase", "6.12.113", { machine: "uml" })).toBe("HZ 100, 10 s");
  expect(await expectedOf("other-family", "6.12.113", { hasIpv6: false })).toBeNull();
});
