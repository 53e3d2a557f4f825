/** Compares dial() with Go's net.Dialer in small ephemeral ranges: self-connects returned, and ports left busy. */
import type { BenchRow } from "../lib/report/index.ts";
import type { Results } from "./rows.ts";
import { whyMissing } from "./rows.ts";
import type { CellPlan, Namespace } from "./trials.ts";

const DIALS = 1000;
const LOW = 40_000;

const ONE_PORT: Namespace = { low: LOW, high: LOW, timeWaitBuckets: null };
const MANY_PORTS: Namespace = { low: LOW, high: LOW + 127, timeWaitBuckets: null };
const NO_TIME_WAIT: Namespace = { low: LOW, high: LOW, timeWaitBuckets: 0 };

export const DIALERS: readonly CellPlan[] = [
  dialer("Go", "dialer.go", "one port", ONE_PORT),
  dialer("dial()", "dial.ts", "one port", ONE_PORT),
  dialer("Go", "dialer.go", "128 ports", MANY_PORTS),
  dialer("dial()", "dial.ts", "128 ports", MANY_PORTS),
  dialer("dial() detecting", "dial.ts", "128 ports", MANY_PORTS, "detect"),
  dialer("Go", "dialer.go", "one port, no TIME-WAIT kept", NO_TIME_WAIT),
  dialer("dial()", "dial.ts", "one port, no TIME-WAIT kept", NO_TIME_WAIT),
];

/** Two rows for each dialer that ran or was skipped. */
export function dialerRows(results: Results): BenchRow[] {
  return DIALERS.filter(({ name }) => results.cells.has(name) || results.missing.has(name)).flatMap(
    (plan) => [
      countRow(plan, "returned joined to itself", "handedOut", results),
      countRow(plan, "port not free afterwards", "portNotFree", results),
    ],
  );
}

function countRow({ name, driver }: CellPlan, what: string, key: string, results: Results): BenchRow {
  const isOurs = driver === "dial.ts";
  const bound = isOurs ? ({ kind: "at most", value: 0 } as const) : null;
  const counts = results.cells.get(name)?.counts;
  const row = { what: `${name}: ${what}`, unit: "dials", bound, low: null, high: null } as const;
  const value = counts?.[key];
  if (value === undefined) {
    return { ...row, value: null, verdict: "skipped", because: whyMissing([name], results) };
  }
  const verdict = !isOurs ? "reported" : value === 0 ? "reached" : "missed";
  const because = counts?.rejected ? `${counts.rejected} attempts rejected` : null;
  return { ...row, value, verdict, because };
}

function dialer(
  who: string,
  driver: string,
  where: string,
  namespace: Namespace,
  ...settings: string[]
): CellPlan {
  const name = `${who}, ${where}`;
  return {
    trial: "dials",
    name,
    driver,
    peer: "ephemeral",
    settings: [String(DIALS), ...settings],
    namespace,
  };
}
