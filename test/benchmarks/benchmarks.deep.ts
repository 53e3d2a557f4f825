/** The trials of the benchmark that npm test does not run: every driver of them runs here. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AFTER, ROUND } from "../../benchmarks/trials.ts";
import type { BenchReport, BenchTrial } from "../../lib/report/index.ts";
import { cli, needsNamespaces } from "../support/harness.ts";

const TRIALS: readonly BenchTrial[] = ["ipv6", "doors", "requests", "own-server", "start-up", "stop", "held"];
const BRIEFLY = ["--rounds", "1", "--cell", "50ms", "--json"];
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("runs every driver of these trials, and prints only their rows", { timeout: 300_000 }, async () => {
  const { stdout } = await cli(["bench", ...BRIEFLY, "--only", TRIALS.join(",")]);
  const { cells, skipped, rows }: BenchReport = JSON.parse(stdout);
  expect(skipped).toEqual([]);
  const planned = [...ROUND, ...AFTER].filter(({ trial }) => TRIALS.includes(trial));
  expect(cells.map(({ name }) => name).sort()).toEqual(planned.map(({ name }) => name).sort());
  expect(rows.filter(({ because }) => because === "not measured")).toEqual([]);
});

it("audits the sockets that the limit of open files allows, and ss reads the same", {
  timeout: 300_000,
}, async (context) => {
  needsNamespaces(context);
  const { stdout } = await cli(["bench", ...BRIEFLY, "--only", "audit"]);
  const { cells, skipped, rows }: BenchReport = JSON.parse(stdout);
  expect(skipped).toEqual([]);
  expect(cells.map(({ name }) => name)).toEqual([expect.stringMatching(/^audit, .* sockets$/), "ss -tanp"]);
  expect(rows).toMatchObject([{ value: expect.any(Number) }]);
});

it("runs a driver of one's own and scans, and judges by a file", { timeout: 300_000 }, async (context) => {
  needsNamespaces(context);
  const [bounds, mine] = [path.join(folder, "bounds.json"), path.join(folder, "mine")];
  const expectation = { "fastest strategy to mine": { atLeast: 1e9 } };
  writeFileSync(bounds, JSON.stringify(expectation));
  writeFileSync(mine, `#!/bin/sh\necho "{\\"count\\":$2,\\"elapsedNs\\":100000000}"\n`, { mode: 0o755 });
  const asked = ["--driver", `mine=${mine}`, "--scan", "threads=1,3", "--scan", "range=40000-40007"];
  const args = ["bench", ...BRIEFLY, "--only", "attempts,time", ...asked, "--expect", bounds];
  const { status, stdout } = await cli(args);
  const { cells, rows, drivers, scan }: BenchReport = JSON.parse(stdout);
  const names = cells.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(["mine", "selfconnect reuse, 3 threads"]));
  expect(names).toContain("selfconnect fresh until joined, range 40000-40007");
  expect(drivers).toEqual([{ name: "mine", command: mine }]);
  expect(scan).toEqual({ threads: [1, 3], ranges: [{ low: 40_000, high: 40_007 }] });
  expect(rows.find(({ what }) => what in expectation)).toMatchObject({ verdict: "missed" });
  expect(status).toBe(3);
});

it.each([
  [["--only", "connects", "--driver", "mine=true"], "--driver adds to the trial attempts"],
  [["--expect", "/dev/null"], "/dev/null: "],
])("%j is a usage error before anything is measured", { timeout: 60_000 }, async (args, message) => {
  const { status, stderr } = await cli(["bench", ...args]);
  expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(message) });
});

it("a bound for a row that is not there is a usage error before anything is measured", async () => {
  const bounds = path.join(folder, "misspelt.json");
  writeFileSync(bounds, JSON.stringify({ "reuse to C's plain loops": { atLeast: 0.9 } }));
  const { status, stderr } = await cli(["bench", "--expect", bounds]);
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: expect.stringContaining('did you mean "reuse to C\'s plain loop"?'),
  });
}, 60_000);
