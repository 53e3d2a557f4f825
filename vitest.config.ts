import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Deep checks take minutes: npm run check:deep. Wide ones need what npm fetches: npm run check:wide.
    include: process.env.WIDE
      ? ["test/**/*.wide.ts"]
      : ["test/**/*.test.ts", ...(process.env.DEEP ? ["test/**/*.deep.ts"] : [])],
    // Many tests run dist: a stale one ends the run before it begins.
    globalSetup: ["test/support/fresh.mjs"],
    setupFiles: ["test/support/census.ts"],
    // One process for each file: the census counts the descriptors of a whole process.
    pool: "forks",
    // Tests share one host's ports and its one sequence of local ports.
    fileParallelism: false,
    testTimeout: 30_000,
    coverage: { provider: "v8", include: ["lib/**"], exclude: ["lib/cli/**"] },
  },
});
