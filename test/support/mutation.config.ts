/**
 * The tests that Stryker runs against each mutant. They import the sources of lib/, because a mutant is never built
 * into dist. They run without the census, because Stryker opens and closes descriptors in the same process.
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
