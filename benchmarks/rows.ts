/** Computes the rows of a report, with their bounds and verdicts, from the cells of one run. */
import type { BenchCell, BenchRow } from "../lib/report/index.ts";
import { agrees, pairedRatio } from "./ratio.ts";
import type { CellPlan } from "./trials.ts";
import { AFTER } from "./trials.ts";

/** The cells by name after all rounds, and why some are missing. */
export interface Results {
  readonly cells: ReadonlyMap<string, BenchCell>;
  /** Microseconds of CPU time per attempt in each round, by the cell's name. */
  readonly cpuUs: ReadonlyMap<string, readonly number[]>;
  readonly missing: ReadonlyMap<string, string>;
}

export const BEST = "C, one socket again";
const URING = "C, io_uring, one socket again";
export const OURS = ["selfconnect fresh", "selfconnect reuse", "selfconnect autobind"];

/** The ratio of one cell's rate to another's. Of several first cells the one with the highest median counts. */
export interface RatioPlan {
  readonly what: string;
  readonly of: readonly string[];
  readonly to: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  /** What no program of this kind can beat. Beside a missed bound the row reports its ratio to the same peer. */
  readonly limit?: string;
}

const RATIOS: readonly RatioPlan[] = [
  { what: "reuse to C's plain loop", of: ["selfconnect reuse"], to: BEST, atLeast: 0.97, limit: URING },
  { what: "reuse to C's loop on io_uring", of: ["selfconnect reuse"], to: URING, atLeast: 0.95 },
  { what: "reuse, plain, to C's plain loop", of: ["selfconnect reuse, plain"], to: BEST, atLeast: 0.97 },
  { what: "fresh to C's plain loop", of: ["selfconnect fresh"], to: "C, a socket each", atLeast: 0.97 },
  {
    what: "fresh, plain, to C's plain loop",
    of: ["selfconnect fresh, plain"],
    to: "C, a socket each",
    atLeast: 0.97,
  },
  { what: "autobind to C", of: ["selfconnect autobind"], to: "C autobind", atLeast: 1.2 },
  {
    what: "fastest strategy to the plain C loop",
    of: OURS,
    limit: BEST,
    to: "C, a socket each",
    atLeast: 1.7,
  },
  { what: "fastest strategy to Go's net.Dial", of: OURS, limit: BEST, to: "Go net.Dial", atLeast: 3 },
  { what: "fastest strategy to Python's socket", of: OURS, limit: BEST, to: "Python", atLeast: 2.5 },
  { what: "fastest strategy to koffi", of: OURS, limit: BEST, to: "koffi", atLeast: 1.7 },
  { what: "fastest strategy to node:net", of: OURS, limit: BEST, to: "node:net", atLeast: 7 },
  { what: "fastest strategy to node:net, 32 in flight", of: OURS, limit: BEST, to: "node:net, 32 in flight" },
  { what: "fastest strategy to bash /dev/tcp", of: OURS, limit: BEST, to: "bash /dev/tcp" },
  { what: "fastest strategy to the nc loop", of: OURS, limit: BEST, to: "nc loop", atLeast: 180 },
  {
    what: "reuse, 2 threads to 1",
    of: ["selfconnect reuse, 2 threads"],
    to: "selfconnect reuse",
    atLeast: 1.9,
    limit: "C, one socket again, 2 processes",
  },
  {
    what: "reuse, plain, 2 threads, to 2 processes of C's plain loop",
    of: ["selfconnect reuse, plain, 2 threads"],
    to: "C, one socket again, 2 processes",
    atLeast: 0.97,
  },
  {
    what: "samples of samplePorts() to attempts of reuse, plain",
    of: ["samplePorts()"],
    to: "selfconnect reuse, plain",
    atLeast: 0.9,
  },
  {
    what: "connectMany() of refused addresses to fresh, plain",
    of: ["connectMany()"],
    to: "selfconnect fresh, plain",
    atLeast: 0.8,
  },
  { what: "self-connects by range, to C", of: ["selfconnect range"], to: "C range", atLeast: 1.4 },
  { what: "self-connects by bind, to C", of: ["selfconnect bind"], to: "C bind", atLeast: 1.4 },
  {
    what: "connect and reset to a listener, TcpSocket to node:net",
    of: ["TcpSocket"],
    to: "node:net connect",
    atLeast: 3,
    limit: "C connect",
  },
  { what: "C's loop on io_uring to its plain one", of: [URING], to: BEST },
  ...["fresh", "reuse, plain", "reuse"].map((loop) => ({
    what: `${loop}, IPv6 to IPv4`,
    of: [`selfconnect ${loop}, IPv6`],
    to: `selfconnect ${loop}, IPv4`,
  })),
  {
    what: "connect and reset to a server of the same process, TcpSocket to node:net",
    of: ["TcpSocket, own server"],
    to: "node:net, own server",
    atLeast: 0.8,
  },
  {
    what: "connect and reset to a server of the same process, dial() to node:net",
    of: ["dial(), own server"],
    to: "node:net, own server",
  },
  { what: "starts of Node, with selfconnect/register to without", of: ["Node, registered"], to: "Node" },
];

/** Of 0.72, 0.87 and 0.85 of the connects in the same CPU time. koffi's calls are those of C from JavaScript. */
const OF_C = { limit: "koffi connect", to: "C connect" } as const;
/** The CPU time of a connect by one cell to that by another. */
const CPU_RATIOS: readonly (Omit<RatioPlan, "what" | "of"> & {
  readonly who: string;
  readonly of: string;
})[] = [
  { who: "TcpSocket", of: "TcpSocket", ...OF_C, atMost: 1.39 },
  { who: "TcpSocket", of: "TcpSocket", to: "koffi connect", limit: "C connect", atMost: 1.15 },
  { who: "connectMany()", of: "connectMany() connect", ...OF_C, atMost: 1.18 },
  ...["node:net connect", "node:net connect, 32 in flight"].map((to) => ({
    ...{ who: "connectMany()", of: "connectMany() connect", to, limit: "C connect", atMost: 0.55 },
  })),
  { who: "dial()", of: "dial()", to: "node:net", atMost: 0.75 },
  { who: "connect()", of: "connect()", to: "node:net" },
  { who: "node:net with selfconnect/register", of: "node:net, registered", to: "node:net" },
];

/** Why a row is skipped that nobody asked for. */
export const NOT_MEASURED = "not measured";

const MOST_GROWTH_BYTES = 2 * 2 ** 20;
const MOST_DELAY_P99_MS = 25;
const MOST_PER_SOCKET = 1.3;
const MOST_STOP_MS = 5;

/** The rows of the rates; `growth` and `sockets` come from the trials after the rounds. */
export function computeBenchRows(
  results: Results,
  growth: { readonly bytes: number | null; readonly text: string },
  sockets: { readonly few: string; readonly many: string; readonly because: string | null },
  asked: readonly RatioPlan[] = [],
): BenchRow[] {
  return [
    ...[...RATIOS, ...asked].map((plan) => ratioRow(plan, results)),
    ...CPU_RATIOS.map((plan) => cpuRow(plan, results)),
    ...["http", "tls", "undici"].map((door) => requestRow(door, results)),
    growthRow(growth),
    delayRow(results),
    socketsRow(results, sockets),
    ...AFTER.map((plan) => figureRow(plan, results)),
  ];
}

/** The figure of a cell that runs once: the time of a stop, the memory of a connection. */
function figureRow({ trial, name }: CellPlan, results: Results): BenchRow {
  const isStop = trial === "stop";
  const value = results.cells.get(name)?.summary.median ?? null;
  const bound = boundOf(isStop ? { atMost: MOST_STOP_MS } : {});
  return {
    what: isStop ? `stop while no SYN is answered, ${name}` : `memory of a connection ${name}`,
    unit: isStop ? "milliseconds" : "bytes",
    bound,
    value,
    low: null,
    high: null,
    verdict: value === null ? "skipped" : verdictOf(value, bound),
    because: value === null ? whyMissing([name], results) : null,
  };
}

/** Of the cells' rates, or of what `roundsOf` returns. */
export function ratioRow(
  plan: RatioPlan,
  results: Results,
  roundsOf: (cell: BenchCell) => readonly number[] = ({ rounds }) => rounds,
): BenchRow {
  const { what, to } = plan;
  const bound = boundOf(plan);
  const blank = { what, unit: "ratio", bound, value: null, low: null, high: null } as const;
  const first = plan.of
    .flatMap((name) => results.cells.get(name) ?? [])
    .reduce<BenchCell | null>(
      (best, one) => (best && best.summary.median >= one.summary.median ? best : one),
      null,
    );
  const peer = results.cells.get(to);
  const ratio = first && peer ? pairedRatio(roundsOf(first), roundsOf(peer)) : null;
  if (!ratio) return { ...blank, verdict: "skipped", because: whyMissing([...plan.of, to], results) };
  if (!agrees(ratio)) {
    const disagree = `rounds disagree: ${ratio.low.toPrecision(3)} to ${ratio.high.toPrecision(3)}`;
    const because = [disagree, limitText(plan, results, roundsOf)].filter(Boolean).join("; ");
    return { ...blank, verdict: "disagree", because };
  }
  const { median: value, low, high } = ratio;
  const verdict = verdictOf(value, bound);
  const because = verdict === "missed" ? limitText(plan, results, roundsOf) : null;
  return { ...blank, value, low, high, verdict, because };
}

function boundOf({ atLeast, atMost }: Pick<RatioPlan, "atLeast" | "atMost">): BenchRow["bound"] {
  if (atLeast !== undefined) return { kind: "at least", value: atLeast };
  return atMost === undefined ? null : { kind: "at most", value: atMost };
}

function verdictOf(value: number, bound: BenchRow["bound"]): BenchRow["verdict"] {
  if (!bound) return "reported";
  const isReached = bound.kind === "at least" ? value >= bound.value : value <= bound.value;
  return isReached ? "reached" : "missed";
}

/** "the limit in this run: C, one socket again, 1.83 times koffi". */
function limitText(
  { limit, to }: RatioPlan,
  results: Results,
  roundsOf: (cell: BenchCell) => readonly number[],
): string | null {
  const best = results.cells.get(limit ?? "");
  const peer = results.cells.get(to);
  const ratio = best && peer ? pairedRatio(roundsOf(best), roundsOf(peer)) : null;
  return ratio && `the limit in this run: ${limit}, ${ratio.median.toPrecision(3)} times ${to}`;
}

function cpuRow({ who, of, ...plan }: (typeof CPU_RATIOS)[number], results: Results): BenchRow {
  const what = `CPU time to connect and reset, ${who} to ${plan.to}`;
  return ratioRow({ ...plan, what, of: [of] }, results, cpuOf(results));
}

/** For ratioRow(): the CPU time of a cell in each round. */
function cpuOf(results: Results) {
  return ({ name }: BenchCell): readonly number[] => results.cpuUs.get(name) ?? [];
}

/** A guarded request, with its server, to one that is not guarded. */
function requestRow(door: string, results: Results): BenchRow {
  const what = `CPU time of a request by ${door}, guarded to not guarded`;
  return ratioRow({ what, of: [`${door}, guarded`], to: door }, results, cpuOf(results));
}

function growthRow(growth: { readonly bytes: number | null; readonly text: string }): BenchRow {
  const row = {
    what: `growth of peak memory, ${growth.text}`,
    unit: "bytes",
    bound: { kind: "at most", value: MOST_GROWTH_BYTES },
    low: null,
    high: null,
  } as const;
  if (growth.bytes === null) return { ...row, value: null, verdict: "skipped", because: NOT_MEASURED };
  const verdict = growth.bytes <= MOST_GROWTH_BYTES ? "reached" : "missed";
  return { ...row, value: growth.bytes, verdict, because: null };
}

function delayRow(results: Results): BenchRow {
  const name = "selfconnect reuse, 2 threads";
  const row = {
    what: "event-loop delay p99 of the main thread, 2 threads",
    unit: "milliseconds",
    bound: { kind: "at most", value: MOST_DELAY_P99_MS },
    low: null,
    high: null,
  } as const;
  const p99 = results.cells.get(name)?.eventLoopDelayMs?.p99;
  if (p99 === undefined) {
    return { ...row, value: null, verdict: "skipped", because: whyMissing([name], results) };
  }
  return { ...row, value: p99, verdict: p99 <= MOST_DELAY_P99_MS ? "reached" : "missed", because: null };
}

function socketsRow(
  results: Results,
  sockets: { readonly few: string; readonly many: string; readonly because: string | null },
): BenchRow {
  const { few, many } = sockets;
  const what = `time per socket in connected(), ${many} to ${few}`;
  const row = ratioRow({ what, of: [few], to: many, atMost: MOST_PER_SOCKET }, results);
  return row.value === null ? row : { ...row, because: sockets.because };
}

export function whyMissing(names: readonly string[], results: Results): string {
  const reasons = names.flatMap((name) => {
    const because = results.missing.get(name);
    return because ? [`${name}: ${because}`] : [];
  });
  return reasons.join("; ") || NOT_MEASURED;
}
