/** The rows of each kind of result: one function per kind, which checks every field that it reads. */
import { COUNTED } from "../lab/experiment.ts";
import { number, record, text } from "../lab/transcript.ts";
import { formatAddress } from "../socket/address.ts";
import { BENCH_TRIALS, BENCH_UNITS } from "./bench.ts";
import { parseLabObject } from "./lab-schema.ts";

/** One thing that was measured. */
export interface ResultRow {
  /** Whose it is, where a result has several: a kernel of a lab. */
  readonly subject: string | null;
  /** What it is; with `subject` the only one of its result. */
  readonly name: string;
  /** The figure or the answer; null where there is none. */
  readonly value: number | string | null;
  /** Why there is none; null where there is one, and where nobody knows. */
  readonly whyNone: string | null;
  /** The unit of a figure and its samples; "" of an answer. */
  readonly unit: string;
  /** The interval of a figure with 95 % confidence; null where it has none. */
  readonly low: number | null;
  /** The upper end of the interval. */
  readonly high: number | null;
  /** How it is compared with the same row of another result. */
  readonly compareBy: "equality" | "intervals" | "rates" | "trials" | "shares";
  /** What the figure was computed from, where it was measured several times; the median is its value. */
  readonly samples: readonly number[];
  /** Of a share: how many there were in all; `value` of them counted. */
  readonly of: number | null;
  /** Which is the better one; null where neither is. */
  readonly better: "more" | "less" | null;
}

interface Rows {
  readonly settings: Readonly<Record<string, string>>;
  readonly rows: readonly ResultRow[];
}

type Fields = Readonly<Record<string, unknown>>;

/** What people read instead of a key of the JSON; another value is said as it is. */
const WORDS: Readonly<Record<string, string>> = {
  "at-risk": "at risk",
  "bind-first": "at risk from clients that bind first",
  held: "not at risk while another socket has the port",
  safe: "not at risk",
  found: "something is at risk, or joined to itself",
  clean: "nothing at risk, nothing joined to itself",
  "outside-range": "the port is outside the ephemeral range",
  reserved: "the port is reserved",
  gvisor: "gVisor skips the peer's port",
  parity: "ports of the other parity are picked",
  "upper-half": "ports of the lower half are picked",
  "last-port": "the last port of the range is not picked",
  address: "another local address is picked",
};

const PLAIN = {
  ...{ subject: null, whyNone: null, unit: "", low: null, high: null, samples: [], of: null, better: null },
  compareBy: "equality",
} as const;

function answer(name: string, value: number | string | null, unit = ""): ResultRow {
  return { ...PLAIN, name, value, unit };
}

function sampled(
  compareBy: "rates" | "trials",
  name: string,
  unit: string,
  samples: readonly number[],
  better: ResultRow["better"] = null,
): ResultRow {
  return { ...PLAIN, name, value: medianOf(samples), unit, compareBy, samples, better };
}

function share(name: string, unit: string, value: number, of: number): ResultRow {
  return { ...PLAIN, name, value, unit, of, compareBy: "shares" };
}

const MOST_ITEMS = 100_000;

function list(value: unknown, name: string): unknown[] {
  if (Array.isArray(value) && value.length <= MOST_ITEMS) return value;
  throw new Error(`${name} is not a list`);
}

function numbers(value: unknown, name: string): number[] {
  return list(value, name).map((one) => number(one, name));
}

function orNull<T>(value: unknown, read: (value: unknown) => T): T | null {
  return value === null || value === undefined ? null : read(value);
}

function peerText(value: unknown): string {
  const { family, host, port } = record(value, "an address");
  const known = family === 6 ? 6 : 4;
  return formatAddress({ family: known, host: text(host, "host"), port: number(port, "port") });
}

/** Rounds are compared by their ratio; a figure of the report by its interval. */
function benchRows(report: Fields): Rows {
  const cells = list(report.cells, "cells").map((value) => {
    const cell = record(value, "a cell");
    const trial = text(cell.trial, "trial");
    const unit = BENCH_UNITS[trial as keyof typeof BENCH_UNITS];
    if (!(trial in BENCH_TRIALS)) throw new Error(`the trial "${trial}" is not known`);
    const rounds = numbers(cell.rounds, "rounds");
    const name = `${trial}: ${text(cell.name, "name")}`;
    return sampled("rates", name, unit ?? "per second", rounds, unit ? "less" : "more");
  });
  const figures = list(report.rows, "rows").map((value): ResultRow => {
    const row = record(value, "a row");
    const figure = (key: string) => orNull(row[key], (one) => number(one, key));
    const bound = orNull(row.bound, (one) => record(one, "bound").kind);
    return {
      ...PLAIN,
      name: text(row.what, "what"),
      unit: text(row.unit, "unit"),
      compareBy: "intervals",
      value: figure("value"),
      whyNone: row.value === null ? orNull(row.because, (why) => text(why, "because")) : null,
      low: figure("low"),
      high: figure("high"),
      better: bound === "at least" ? "more" : bound === "at most" ? "less" : null,
    };
  });
  const settings = { "rounds of": `${number(report.cellMs, "cellMs")} ms` };
  return { settings, rows: [...figures, ...cells] };
}

function reconnectRows(report: Fields): Rows {
  const trials = list(report.trials, "trials").map((value) => {
    const trial = record(value, "a trial");
    return {
      isJoined: text(trial.verdict, "verdict") === "self-connect",
      attempts: number(trial.attempts, "attempts"),
      elapsedMs: number(trial.elapsedMs, "elapsedMs"),
    };
  });
  const joined = trials.filter(({ isJoined }) => isJoined);
  const rates = trials.flatMap(({ attempts, elapsedMs }) =>
    elapsedMs > 0 ? [(attempts * 1000) / elapsedMs] : [],
  );
  const never = orNull(report.never, (value) => whyNever(record(value, "never")));
  // Chained trials have another distribution than cold ones, and are not compared with them.
  const starts = trials.length > 1 ? `, ${text(report.starts, "starts")} starts` : "";
  return {
    settings: {
      peer: peerText(report.peer),
      strategy: text(report.strategy, "strategy"),
      threads: String(number(report.threads, "threads")),
      engine: text(report.engine, "engine"),
    },
    rows: [
      answer("a self-connect is possible", never === null ? "yes" : `no: ${never}`),
      share("trials that self-connected", "trials", joined.length, trials.length),
      sampled(
        "trials",
        `attempts until the self-connect${starts}`,
        "attempts",
        joined.map(({ attempts }) => attempts),
      ),
      sampled("rates", "speed of a trial", "attempts per second", rates, "more"),
    ],
  };
}

const CLAIMS = {
  peerPort: "the peer's port",
  peerAddress: "the peer's address",
  otherTraffic: "other traffic",
  namespace: "the network namespace",
} as const;

function portsRows(report: Fields): Rows {
  const parity = record(report.parity, "parity");
  const [even, odd] = [number(parity.even, "even"), number(parity.odd, "odd")];
  const dependence = record(report.dependence, "dependence");
  const claims = Object.entries(CLAIMS).map(([key, words]) => {
    const claim = dependence[key];
    return answer(`depends on ${words}`, typeof claim === "boolean" ? (claim ? "yes" : "no") : null);
  });
  const [step] = list(report.steps, "steps");
  const peers = list(report.peers, "peers");
  return {
    settings: { peer: peerText(peers[0]), method: text(report.method, "method") },
    rows: [
      answer("algorithm", text(record(report.verdict, "verdict").name, "name")),
      answer("lowest port", number(report.low, "low"), "port"),
      answer("highest port", number(report.high, "high"), "port"),
      share("even ports", "attempts", even, even + odd),
      answer(
        "commonest step",
        orNull(step, (one) => number(record(one, "a step").step, "step")),
        "ports",
      ),
      ...claims,
    ],
  };
}

function portsReadRows(report: Fields): Rows {
  const sources = list(report.sources, "sources").map((value) => {
    const source = record(value, "a source");
    const name = text(record(source.verdict, "verdict").name, "name");
    return answer(`algorithm of ${text(source.host, "host")}`, name);
  });
  return { settings: { file: text(report.file, "file") }, rows: sources };
}

function predictRows(report: Fields): Rows {
  const never = orNull(report.never, (value) => whyNever(record(value, "never")));
  const paces = list(report.predictions, "predictions").flatMap((value) => {
    const { attemptsPerSecond, chancePerAttempt, attempts, elapsedMs } = record(value, "a prediction");
    const pace = `at ${Math.round(number(attemptsPerSecond, "attemptsPerSecond")).toLocaleString("en-US")}/s`;
    const [made, took] = [record(attempts, "attempts"), record(elapsedMs, "elapsedMs")];
    return [
      answer(`one self-connect in, ${pace}`, 1 / number(chancePerAttempt, "chancePerAttempt"), "attempts"),
      answer(`mean, ${pace}`, number(made.mean, "mean"), "attempts"),
      answer(`mean time, ${pace}`, number(took.mean, "mean"), "milliseconds"),
    ];
  });
  const check = orNull(report.check, (value) => record(value, "check"));
  const waits = check
    ? list(check.trials, "trials").map((one) => number(record(one, "a trial").attempts, "attempts"))
    : [];
  const checked = check ? [sampled("trials", "attempts of real self-connects", "attempts", waits)] : [];
  return {
    settings: {
      peer: peerText(report.peer),
      method: text(report.method, "method"),
      clients: String(number(report.clients, "clients")),
    },
    rows: [
      answer("algorithm", text(report.algorithm, "algorithm")),
      answer("a self-connect is possible", never === null ? "yes" : `no: ${never}`),
      ...paces,
      ...checked,
    ],
  };
}

/** An answer, and its samples; the ports of a walk depend on where it began, and are not compared. */
function labRows(report: Fields): Rows {
  const { findings, trials } = parseLabObject(report);
  const rows = findings.flatMap(({ kernel, experiment, answer: said, figure, note, status, samples }) => {
    const words = said === COUNTED ? (figure ?? said) : (said ?? null);
    const row = { ...answer(experiment, words), subject: kernel };
    if (words === null) return [{ ...row, whyNone: note ?? status }];
    if (!samples || samples.plot === "walk")
      return [said === COUNTED ? { ...row, compareBy: "trials" as const } : row];
    const its = {
      ...sampled("trials", `samples of ${experiment}`, samples.unit, samples.values),
      subject: kernel,
    };
    return [row, its];
  });
  return { settings: { trials: String(trials) }, rows };
}

function auditRows(report: Fields): Rows {
  const own = auditOf(report, null);
  const others = orNull(report.namespaces, (value) => list(value, "namespaces")) ?? [];
  const more = others.flatMap((value) => {
    const other = record(value, "a namespace");
    return auditOf(other, `network namespace ${number(other.namespace, "namespace")}`);
  });
  return { settings: {}, rows: [...own, ...more] };
}

function auditOf(found: Fields, subject: string | null): ResultRow[] {
  const words = (name: string, value: string) => ({ ...answer(name, value), subject });
  const listed = (key: string, name: string, say: (one: Fields) => string) =>
    list(found[key], key).map((value) => {
      const one = record(value, key);
      return words(`${name} ${peerText(one.local)}`, say(one));
    });
  return [
    words("verdict", wordsOf(text(found.verdict, "verdict"))),
    words("algorithm", text(found.algorithm, "algorithm")),
    ...listed("listeners", "listener", (one) => wordsOf(text(one.risk, "risk"))),
    ...listed("joined", "socket", () => "joined to itself"),
    ...listed("leftovers", "TIME-WAIT", () => "left behind by a self-connect"),
  ];
}

function wordsOf(key: string): string {
  return Object.hasOwn(WORDS, key) ? WORDS[key]! : key;
}

function whyNever({ reason }: Fields): string {
  const key = text(reason, "reason");
  return key === "held" ? "another socket has the port" : wordsOf(key);
}

function traceRows(report: Fields): Rows {
  const ladder = record(report.ladder, "ladder");
  const states = list(ladder.ends, "ends").map((value) => {
    const { name, path } = record(value, "an end");
    const passed = list(path, "path").map((state) => text(state, "state"));
    return answer(`states ${text(name, "name")}`.trim(), passed.join(" → "));
  });
  const packets = list(ladder.rows, "rows").map((value) => {
    const row = record(value, "a packet");
    const flags = list(row.flags, "flags").map((flag) => text(flag, "flag"));
    const sent = text(record(row.sent, "sent").after, "state");
    const received = text(record(row.received, "received").after, "state");
    return answer(`packet ${number(row.number, "number")}`, `${flags.join(" ")}: ${sent}, then ${received}`);
  });
  const settings = {
    peer: peerText(report.peer),
    "closed by": orNull(report.closing, (how) => text(how, "closing")) ?? "reset",
  };
  return { settings, rows: [answer("verdict", text(report.verdict, "verdict")), ...states, ...packets] };
}

function medianOf(samples: readonly number[]): number | null {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return null;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The function of each kind. */
export const RESULT_KINDS = {
  bench: benchRows,
  reconnect: reconnectRows,
  ports: portsRows,
  "ports-read": portsReadRows,
  predict: predictRows,
  lab: labRows,
  audit: auditRows,
  trace: traceRows,
} as const satisfies Record<string, (report: Fields) => Rows>;
