/** Under Stryker, tests that ask for more time than the others are skipped: each would run again for every mutant. */
import { beforeEach } from "vitest";
import { TEST_TIMEOUT_MS } from "./mutation.config.ts";

beforeEach(({ task, skip }) => {
  if (task.timeout > TEST_TIMEOUT_MS) skip("it asks for more time than a mutant is given");
});
