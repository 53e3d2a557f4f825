/**
 * The tests that Stryker runs against each mutant: those that import the sources of lib/, for a mutant is never built
 * into dist. Without the census: Stryker's own descriptors come and go in the same process.
 */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: [
      "test/socket/*.test.ts",
      "test/guard/{guard,dial,http,net}.test.ts",
      "test/loop/reconnect.test.ts",
    ],
    fileParallelism: false,
    testTimeout: 30_000,
  },
});
