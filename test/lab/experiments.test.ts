/** The lab's questions about who gets a port: this kernel answers them as expected, and what is expected of others. */
import { expect, test } from "vitest";
import type { Subject } from "../../lib/lab/experiment.ts";
import { findExperiments, KernelShelf, makeMachines, runLab } from "../../lib/lab/index.ts";
import { needsNamespaces } from "../support/harness.ts";

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
  "waits",
];
const LIMITS = { silenceMs: 60_000, totalMs: 100_000, outputBytes: 1_000_000 };

test("this kernel answers each as its release should", { timeout: 120_000 }, async (context) => {
  needsNamespaces(context);
  const [machine] = await makeMachines({ machines: ["host"], kernels: [] }, new KernelShelf());
  const { kernels, findings } = await runLab({
    machines: [machine!],
    experiments: QUESTIONS,
    trials: 2,
    limits: LIMITS,
  });
  expect(findings.map(({ experiment }) => experiment)).toEqual(QUESTIONS);
  // Without IPv6 the question about it cannot be asked.
  const asked = findings.filter(
    ({ experiment }) => experiment !== "other-family" || kernels[0]!.environment!.hasIpv6,
  );
  for (const { experiment, answer, expected, note, counts } of asked) {
    expect(expected, experiment).not.toBeNull();
    expect(answer, `${experiment}: ${note}`).toBe(expected);
    expect(Object.keys(counts).length, `${experiment} has raw counts`).toBeGreaterThan(0);
  }
});

test("by io_uring this kernel's connects are refused and joined to themselves, or it says why not", async (context) => {
  needsNamespaces(context);
  const [machine] = await makeMachines({ machines: ["host"], kernels: [] }, new KernelShelf());
  const { findings } = await runLab({ machines: [machine!], experiments: ["io-uring"], trials: 2 });
  const { answer } = findings[0]!;
  const isLacking = /^(not on this kernel|forbidden: E\w+|needs operations that this kernel lacks)$/.test(
    answer!,
  );
  if (isLacking) context.skip(answer);
  expect(answer).toMatch(/^refusals: ECONNREFUSED; .*self-connect: [^;]*reuse/);
  expect(findings[0]!.counts["reuse attempts"]).toBeGreaterThan(0);
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
  ["salt-phase", "5.10.46", "no sudden move"],
  ["salt-phase", "5.10.117", null],
  ["salt-phase", "6.12.113", null],
  ["last-port", "3.16", null],
  ["waits", "5.10.46", "always: fresh, reuse, autobind, bind; not on this kernel: range"],
  ["waits", "6.8.0", "always: fresh, reuse, autobind, bind, range"],
] as const)("%s of Linux %s", async (name, upstream, expected) => {
  expect(await expectedOf(name, upstream)).toEqual(expected);
});

test("User-mode Linux has a HZ of 100, and without IPv6 nothing is expected of another family", async () => {
  expect(await expectedOf("salt-phase", "6.12.113", { machine: "uml" })).toBe("HZ 100, 10 s");
  expect(await expectedOf("other-family", "6.12.113", { hasIpv6: false })).toBeNull();
});
