import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Deep checks take minutes: npm run check:deep.
    include: ["test/*.test.ts", ...(process.env.DEEP ? ["test/deep/*.deep.ts"] : [])],
    setupFiles: ["test/census.ts"],
    // One process for each file: the census counts the descriptors of a whole process.
    pool: "forks",
    // Tests share one host's ports and its one sequence of local ports.
    fileParallelism: false,
    testTimeout: 30_000,
    coverage: { provider: "v8", include: ["lib/**"], exclude: ["lib/cli/**"] },
  },
});
