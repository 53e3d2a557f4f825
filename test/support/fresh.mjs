// Ends vitest at once where a build is older than its sources: the tests of dist would test yesterday's code.
import { staleness } from "../../build.mjs";

export default function endWhereStale() {
  const stale = staleness();
  if (!stale) return;
  console.error(stale);
  process.exit(1);
}
