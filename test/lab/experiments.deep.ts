/** The lab's questions that take seconds, asked of this kernel: TIME-WAIT for a minute, and two jumps of the walk. */
import { expect, test } from "vitest";
import { KernelShelf, makeMachines, runLab } from "../../lib/lab/index.ts";

const QUESTIONS = ["time-wait", "time-wait-reuse", "salt-phase"];

test("are answered as expected", { timeout: 300_000 }, async (context) => {
  const [machine] = await makeMachines({ machines: ["host"], kernels: [] }, new KernelShelf());
  const missing = await machine!.missing();
  if (missing) return context.skip(missing);
  const { findings } = await runLab({ machines: [machine!], experiments: QUESTIONS });
  for (const { experiment, answer, note, figure } of findings)
    console.log(`${experiment}: ${answer ?? note} (${figure})`);
  expect(findings.filter(({ isAsExpected }) => isAsExpected === false)).toEqual([]);
  // What HZ this kernel has is its builder's choice, but a period is 10 s on all.
  const phase = findings.find(({ experiment }) => experiment === "salt-phase");
  if (phase?.answer !== "no sudden move") expect(phase?.answer).toMatch(/^HZ \d+, 10 s$/);
});
