/** Compares the CPU time of the audit of very many sockets with that of ss, which reads the same ones. */
import type { BenchRow } from "../lib/report/index.ts";
import type { Results } from "./rows.ts";
import { ratioRow } from "./rows.ts";
import type { CellPlan, Namespace } from "./trials.ts";
import { MANY_SOCKETS } from "./trials.ts";

/** The time of each program in nanoseconds, one for each round: what drivers/audit.ts prints. */
export interface AuditMeasurement {
  readonly auditNs: readonly number[];
  readonly ssNs: readonly number[];
}

const WIDEST: Namespace = { low: 1024, high: 65_535, timeWaitBuckets: null };
/** A process connects as often as its limit of open files allows: more processes would be a load of their own. */
const MOST_PROCESSES = 10;
/** Open files of a process besides its connections. */
const OTHER_FILES = 100;
const MOST_CPU = 1;

/** The number of sockets, two for each connection, that a limit of open files allows, at most MANY_SOCKETS. */
export function countAudited(limitOfFiles: number): number {
  const each = Math.max(OTHER_FILES, limitOfFiles - OTHER_FILES);
  return Math.min(MANY_SOCKETS, 2 * each * MOST_PROCESSES);
}

/** The cells of the audit and of ss. One driver measures both, because they read the same sockets. */
export function planAudit(sockets: number, rounds: number): { audit: CellPlan; ss: CellPlan } {
  const settings = [sockets, MOST_PROCESSES, rounds].map(String);
  const cell = { trial: "audit", driver: "audit.ts", peer: "dead", settings, namespace: WIDEST } as const;
  return { audit: { ...cell, name: `audit, ${count(sockets)} sockets` }, ss: { ...cell, name: "ss -tanp" } };
}

/** The row of the audit; none where nobody asked for it. */
export function auditRows(results: Results, limitOfFiles: number): BenchRow[] {
  const sockets = countAudited(limitOfFiles);
  const { audit, ss } = planAudit(sockets, 0);
  const what = `CPU time of the audit of ${count(sockets)} sockets, to ss -tanp`;
  // Cells hold rates, so the ratio of times is the inverse.
  const plan = { what, of: [ss.name], to: audit.name };
  if (sockets === MANY_SOCKETS) return [ratioRow({ ...plan, atMost: MOST_CPU }, results)];
  const row = ratioRow(plan, results);
  // Without a bound: Node's start, which ss does not have, is much of the audit of few sockets.
  const fewer = `${MANY_SOCKETS} not tried: the hard limit of open files is ${limitOfFiles}`;
  return [{ ...row, because: row.because ?? fewer }];
}

function count(sockets: number): string {
  return sockets.toLocaleString("en-US");
}
