/** For test/census.test.ts: runs the tests that leave descriptors open under the census. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/support/programs/leaking.ts"],
    setupFiles: ["test/support/census.ts"],
    pool: "forks",
    env: { CENSUS_SETTLE_MS: "300" },
  },
});
