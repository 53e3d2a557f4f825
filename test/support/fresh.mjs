// Ends vitest at once if a build is older than its sources, because the tests of dist would test old code.
import { describeStaleness } from "../../build.mjs";

export default function endWhereStale() {
  const stale = describeStaleness();
  if (!stale) return;
  console.error(stale);
  process.exit(1);
}
