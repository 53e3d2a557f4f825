/** How test/support/suites.mjs runs the tests of another package, and what it counts. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { needsNamespaces } from "../support/harness.ts";
import type { Suite } from "../support/suites.mjs";
import { runSuite } from "../support/suites.mjs";
import { temporaryFile } from "../support/temporary.ts";

/** A program notes that it ran; `isGuarded` is known to each. */
const PREAMBLE = `
  const { appendFileSync, readFileSync } = require("node:fs");
  appendFileSync(__filename + ".runs", "x");
  const runs = readFileSync(__filename + ".runs", "utf8").length;
  const isGuarded = Symbol.for("selfconnect.registered") in globalThis;
`;

beforeEach((context) => {
  needsNamespaces(context);
  vi.spyOn(console, "log").mockReturnValue();
});
afterEach(() => vi.restoreAllMocks());

/** Runs programs as the files of a suite. Returns its result, and how often each ran. */
async function run(programs: Readonly<Record<string, string>>, settings: Partial<Suite> = {}) {
  const folder = temporaryFile("suite");
  mkdirSync(folder);
  for (const [name, code] of Object.entries(programs))
    writeFileSync(path.join(folder, `${name}.js`), PREAMBLE + code);
  const suite = { name: "here", files: /\.js$/, run: (files: readonly string[]) => files, ...settings };
  const result = await runSuite(suite, folder);
  const runs = Object.keys(programs).map(
    (name) => [name, countRuns(path.join(folder, `${name}.js`))] as const,
  );
  return { result, runs: Object.fromEntries(runs) };
}

function countRuns(program: string): number {
  const file = `${program}.runs`;
  return existsSync(file) ? readFileSync(file, "utf8").length : 0;
}

it("counts tests that passed and exit codes, but no test that was skipped", async () => {
  const { result, runs } = await run({
    one: 'console.log("ok 1 - connects\\n    ok 2 closes # 3 ms\\nok 3 - lingers # SKIP no network\\nnot ok 4 - waits")',
    two: 'console.log("connects ✔"); process.exitCode = 1',
  });
  expect(result).toEqual({ files: 2, without: 4, under: 4, ours: [], killed: [] });
  expect(runs).toEqual({ one: 2, two: 2 });
});

it("names what never passes under register, after six tries, and nothing that passed in one of them", async () => {
  const { result, runs } = await run({
    never: 'console.log("ok 1 - connects"); if (!isGuarded) console.log("ok 2 - is plain")',
    once: 'if (!isGuarded || runs === 4) console.log("ok 1 - is lucky")',
  });
  expect(result).toEqual({ files: 2, without: 5, under: 4, ours: ["never.js: is plain"], killed: [] });
  expect(runs).toEqual({ never: 7, once: 4 });
});

it("does not compare, nor try again, a file that hangs without register", async () => {
  const hangs = 'if (!isGuarded) console.log("ok 1 - waits"); setInterval(() => {}, 1000)';
  const { result, runs } = await run({ hangs }, { timeoutMs: 2000 });
  expect(result).toMatchObject({ files: 1, ours: [], killed: ["hangs.js"] });
  expect(runs).toEqual({ hangs: 2 });
});

it("runs all files in one process where the suite's own script does so", async () => {
  const { result, runs } = await run(
    { one: 'console.log("ok 1 - has arguments: " + process.argv.length)', two: "" },
    { together: true },
  );
  expect(result).toMatchObject({ files: 2, without: 2, under: 2 });
  expect(runs).toEqual({ one: 2, two: 0 });
});
