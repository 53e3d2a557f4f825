import { readdirSync, readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

/** What the build puts into lib/kernel/version.ts. */
export const define = {
  SELFCONNECT_VERSION: JSON.stringify(JSON.parse(readFileSync("package.json", "utf8")).version),
};

/** Deep checks take minutes: npm run check:deep. Wide ones need what npm fetches: npm run check:wide. */
const wanted = process.env.WIDE ? /\.wide\.ts$/ : process.env.DEEP ? /\.(test|deep)\.ts$/ : /\.test\.ts$/;
const files = readdirSync("test", { recursive: true, encoding: "utf8" })
  .filter((name) => wanted.test(name))
  .map((name) => `test/${name}`);
const { TRANSFORMS } = process.env;
/**
 * A mock needs a module that nobody has loaded yet, register changes the whole process that loads it, and what a program
 * on PATH answered, a stand-in too, is kept for the process.
 */
const ALONE = /vi\.mock\(|guard\/register\.ts"|process\.env\.PATH = /;
const ownProcess = files.filter((file) => ALONE.test(readFileSync(file, "utf8")));

export default defineConfig({
  define,
  test: {
    // Many tests run dist: a stale one ends the run before it begins.
    globalSetup: ["test/support/fresh.mjs"],
    setupFiles: ["test/support/census.ts"],
    // Apart from vitest's own process, whose descriptors the census would count.
    pool: "forks",
    // Tests share one host's ports and its one sequence of local ports.
    fileParallelism: false,
    // Ten times what the slowest of them takes: other work may have most of the machine.
    testTimeout: 90_000,
    // All runs of npm test share what was compiled once; their folder is new for each.
    experimental: TRANSFORMS ? { fsModuleCache: true, fsModuleCachePath: TRANSFORMS } : {},
    coverage: { provider: "v8", include: ["lib/**"], exclude: ["lib/cli/**"] },
    // Half a second of every file's time is the start of a process and the loading of lib/: most share both.
    projects: [
      {
        extends: true,
        test: { name: "shared", isolate: false, include: files.filter((file) => !ownProcess.includes(file)) },
      },
      { extends: true, test: { name: "own process", include: ownProcess } },
    ],
  },
});
