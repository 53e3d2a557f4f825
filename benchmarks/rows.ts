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
  /** The C loop that no program can beat. Beside a missed bound the row reports its ratio to the same peer. */
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

/** Why a row is skipped that nobody asked for. */
export const NOT_MEASURED = "not measured";

const MOST_GROWTH_BYTES = 2 * 2 ** 20;
const MOST_DELAY_P99_MS = 25;
const MOST_PER_SOCKET = 1.3;
const MOST_CPU_OF_MANY = 0.55;
const MOST_CPU_OF_DIAL = 0.75;
/** 0.72, 0.87 and 0.85 of the connects in the same CPU time. */
const MOST_CPU_OF_C = 1.39;
const MOST_CPU_OF_KOFFI = 1.15;
const MOST_CPU_OF_C_BY_MANY = 1.18;
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
    boundAbove(cpuRow("TcpSocket", "TcpSocket", "C connect", results), MOST_CPU_OF_C),
    boundAbove(cpuRow("TcpSocket", "TcpSocket", "koffi connect", results), MOST_CPU_OF_KOFFI),
    boundAbove(cpuRow("connectMany()", "connectMany() connect", "C connect", results), MOST_CPU_OF_C_BY_MANY),
    ...["node:net connect", "node:net connect, 32 in flight"].map((to) =>
      boundAbove(cpuRow("connectMany()", "connectMany() connect", to, results), MOST_CPU_OF_MANY),
    ),
    boundAbove(cpuRow("dial()", "dial()", "node:net", results), MOST_CPU_OF_DIAL),
    cpuRow("connect()", "connect()", "node:net", results),
    cpuRow("node:net with selfconnect/register", "node:net, registered", "node:net", results),
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
  const row: BenchRow = {
    what: isStop ? `stop while no SYN is answered, ${name}` : `memory of a connection ${name}`,
    unit: isStop ? "milliseconds" : "bytes",
    bound: null,
    value,
    low: null,
    high: null,
    verdict: value === null ? "skipped" : "reported",
    because: value === null ? whyMissing([name], results) : null,
  };
  return isStop ? boundAbove(row, MOST_STOP_MS) : row;
}

/** Of the cells' rates, or of what `roundsOf` returns. */
export function ratioRow(
  plan: RatioPlan,
  results: Results,
  roundsOf: (cell: BenchCell) => readonly number[] = ({ rounds }) => rounds,
): BenchRow {
  const { what, to, atLeast } = plan;
  const bound = atLeast === undefined ? null : ({ kind: "at least", value: atLeast } as const);
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
    const because = [disagree, limitText(plan, results)].filter(Boolean).join("; ");
    return { ...blank, verdict: "disagree", because };
  }
  const verdict = atLeast === undefined ? "reported" : ratio.median >= atLeast ? "reached" : "missed";
  const { median: value, low, high } = ratio;
  const because = verdict === "missed" ? limitText(plan, results) : null;
  return { ...blank, value, low, high, verdict, because };
}

/** "the limit in this run: C, one socket again, 1.83 times koffi". */
function limitText({ limit, to }: RatioPlan, results: Results): string | null {
  const best = results.cells.get(limit ?? "");
  const peer = results.cells.get(to);
  const ratio = best && peer ? pairedRatio(best.rounds, peer.rounds) : null;
  return ratio && `the limit in this run: ${limit}, ${ratio.median.toPrecision(3)} times ${to}`;
}

/** The CPU time of a connect by one cell to that by another. */
function cpuRow(who: string, of: string, to: string, results: Results): BenchRow {
  return cpuRatioRow(`CPU time to connect and reset, ${who} to ${to}`, of, to, results);
}

/** A guarded request, with its server, to one that is not guarded. */
function requestRow(door: string, results: Results): BenchRow {
  return cpuRatioRow(
    `CPU time of a request by ${door}, guarded to not guarded`,
    `${door}, guarded`,
    door,
    results,
  );
}

function cpuRatioRow(what: string, of: string, to: string, results: Results): BenchRow {
  return ratioRow({ what, of: [of], to }, results, ({ name }) => results.cpuUs.get(name) ?? []);
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
  const row = boundAbove(ratioRow({ what, of: [few], to: many }, results), MOST_PER_SOCKET);
  return row.value === null ? row : { ...row, because: sockets.because };
}

/** The row with a bound that its value may not exceed. */
export function boundAbove(row: BenchRow, most: number): BenchRow {
  const bound = { kind: "at most", value: most } as const;
  if (row.value === null) return { ...row, bound };
  return { ...row, bound, verdict: row.value <= most ? "reached" : "missed" };
}

export function whyMissing(names: readonly string[], results: Results): string {
  const reasons = names.flatMap((name) => {
    const because = results.missing.get(name);
    return because ? [`${name}: ${because}`] : [];
  });
  return reasons.join("; ") || NOT_MEASURED;
}
