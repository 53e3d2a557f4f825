/** The cost of the guard: compares connect() with net.connect and with the least guard, at a live listener. */
import type { BenchRow } from "../lib/report/index.ts";
import type { Results } from "./rows.ts";
import { ratioRow } from "./rows.ts";
import type { CellPlan } from "./trials.ts";

export const DOORS = ["node:net", "least guard", "selfconnect connect()"] as const;
export type Door = (typeof DOORS)[number];
export const MOMENTS = ["connect", "close"] as const;
export type Moment = (typeof MOMENTS)[number];

/** The medians of one round, from the call to each event. */
export interface GuardRound {
  readonly connectNs: number;
  readonly closeNs: number;
}

/** The output of drivers/guard.ts: rounds by door, and why doors are missing. */
export interface GuardMeasurement {
  readonly rounds: Readonly<Record<string, readonly GuardRound[]>>;
  readonly missing: Readonly<Record<string, string>>;
}

/** Outside the ephemeral range the kernel never picks the peer's port, and the guard has nothing to prevent. */
export interface GuardPlace {
  readonly where: string;
  readonly isInside: boolean;
  readonly guard: "prevent" | "detect";
  /** How many ports of the ephemeral range have a connection to the listener meanwhile. */
  readonly heldPorts: number;
}

export const GUARD_PLACES: readonly GuardPlace[] = [
  { where: "peer outside the range", isInside: false, guard: "prevent", heldPorts: 0 },
  { where: "peer inside it, detecting", isInside: true, guard: "detect", heldPorts: 0 },
  { where: "peer inside it", isInside: true, guard: "prevent", heldPorts: 0 },
];
/**
 * For --long. Of the default range 14,116 ports have the parity that connect(2) picks first: at the last place all of
 * those are in use.
 */
export const BUSY_PLACES: readonly GuardPlace[] = [5_000, 10_000, 13_000, 15_000].map((heldPorts) => ({
  where: `peer inside it, ${heldPorts} ports in use`,
  isInside: true,
  guard: "prevent",
  heldPorts,
}));
/** The rounds are divided among processes, because V8's compiled code differs between processes as rounds do. */
export const GUARD_PROCESSES = 3;
const MOST_COST = 1.05;

/** The cell of a door at a place. One driver measures all doors; this cell collects the rounds of one. */
export function guardCell({ where }: GuardPlace, door: Door, moment: Moment): CellPlan {
  const name = `${door}, ${where}, until '${moment}'`;
  return { trial: "guard", name, driver: "guard.ts", peer: "live", settings: [] };
}

/** The rows of the places that were measured or skipped. */
export function guardRows(results: Results): BenchRow[] {
  return [...GUARD_PLACES, ...BUSY_PLACES].flatMap((place) => {
    const plain = guardCell(place, "node:net", "connect").name;
    if (!results.cells.has(plain) && !results.missing.has(plain)) return [];
    const least = costRow(place, "least guard", "connect", results);
    const guarded = costRow(place, "selfconnect connect()", "connect", results);
    const closed = costRow(place, "selfconnect connect()", "close", results);
    return [place.heldPorts > 0 ? guarded : applyBound(guarded, least), least, closed];
  });
}

/** The time by this door, as a ratio to net.connect. */
function costRow(place: GuardPlace, door: Door, moment: Moment, results: Results): BenchRow {
  const what = `time until '${moment}', ${door} to node:net, ${place.where}`;
  // Cells hold rates, so the ratio of times is the inverse.
  const [plain, guarded] = [guardCell(place, "node:net", moment), guardCell(place, door, moment)];
  return ratioRow({ what, of: [plain.name], to: guarded.name }, results);
}

function applyBound(row: BenchRow, least: BenchRow): BenchRow {
  const bound = { kind: "at most", value: MOST_COST } as const;
  if (row.value === null) return { ...row, bound };
  if (row.value <= MOST_COST) return { ...row, bound, verdict: "reached" };
  const because = least.value === null ? null : `the least guard in this run: ${least.value.toFixed(3)}`;
  return { ...row, bound, verdict: "missed", because };
}
