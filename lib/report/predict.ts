/** A prediction and its check, as the object of docs/schema/predict-1.json and as text. */
import type { ExplainedHolder } from "../audit/explain-bind.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import { summarize } from "../loop/statistics.ts";
import type { AlgorithmName } from "../ports/algorithms.ts";
import type { NeverCheck, PredictionCheck } from "../ports/check.ts";
import type { Method } from "../ports/method.ts";
import type { Wait } from "../ports/model.ts";
import type { NeverReason } from "../ports/never.ts";
import type { Prediction } from "../ports/predict.ts";
import type { MeasuredWait } from "../ports/waits.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress } from "../socket/address.ts";
import { neverLine } from "./never.ts";
import { count, duration, pluralize } from "./numbers.ts";
import { dotPlot } from "./plot-text.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { indent, paint, renderText, tableLines } from "./terminal.ts";
import { holderLines } from "./who.ts";

/** The attempts per second of all clients together. */
export interface PredictPace {
  /** What the text calls it: "every 1.0 s". */
  readonly name: string;
  /** Attempts of one client in a second. */
  readonly attemptsPerSecond: number;
}

/** The question that a prediction answers. */
export interface PredictQuestion {
  /** How many clients connect at each pace. */
  readonly clients: number;
  /** The paces to predict for. */
  readonly paces: readonly PredictPace[];
  /** Real self-connects beside the prediction; null without --check. */
  readonly check: PredictionCheck | null;
  /** Attempts that test "never"; null without --check, and where nothing can be tested. */
  readonly neverCheck?: NeverCheck | null;
  /** The sockets that are in the way of a server on the peer's address: a self-connect needs the port free. */
  readonly holders?: PredictReport["holders"];
}

interface Figures {
  readonly mean: number;
  readonly median: number;
  readonly p90: number;
  readonly p99: number;
}

/** The object of docs/schema/predict-1.json. */
export interface PredictReport {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.predict/1";
  /** The address that the clients connect to. */
  readonly peer: Pick<Address, "family" | "host" | "port">;
  /** How a client gets its local port. */
  readonly method: Method;
  /** How this host picks ports. */
  readonly algorithm: AlgorithmName;
  /** How the algorithm is known. */
  readonly basis: Prediction["basis"];
  /** Why a self-connect never happens; null when it may. */
  readonly never: NeverReason | null;
  /** How a server on the peer's port is safe. */
  readonly advice: string;
  /** What the prediction depends on, and what could not be seen. */
  readonly while: {
    /** Ports that are in use now; the prediction may be another one when they are not. */
    readonly held: readonly number[];
    /** The socket that keeps the peer's own port from it; null without one. */
    readonly keeper: string | null;
    readonly unseen: readonly string[];
  };
  /** How many clients connect at each pace. */
  readonly clients: number;
  /** One for each pace; empty if it never happens, and if nobody can know (`never` is null then). */
  readonly predictions: readonly {
    readonly attemptsPerSecond: number;
    readonly chancePerAttempt: number;
    readonly attempts: Figures;
    readonly elapsedMs: Figures;
  }[];
  /** Real self-connects beside the prediction; null without --check. */
  readonly check: {
    readonly asked: number;
    readonly trials: readonly MeasuredWait[];
    readonly attemptsPerSecond: number;
    readonly predictedMean: number;
    readonly statistic: number;
    readonly p: number;
  } | null;
  /** Attempts that test "never"; null without --check. */
  readonly neverCheck: NeverCheck | null;
  /** Who is on the peer's port now, as `selfconnect who` names them. */
  readonly holders: readonly Pick<ExplainedHolder, "local" | "is" | "remedy">[];
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

const PLOT_POINTS = 200;
/** So many ports in use are named. */
const MOST_HELD = 6;

/** The object of docs/schema/predict-1.json. */
export function predictReport(prediction: Prediction, question: PredictQuestion): PredictReport {
  const { peer, method, algorithm, basis, never, advice, situation } = prediction;
  const { clients, paces, check } = question;
  return {
    schema: "selfconnect.predict/1",
    peer: { family: peer.family, host: peer.host, port: peer.port },
    method,
    algorithm: algorithm.name,
    basis,
    never,
    advice,
    while: {
      held: prediction.dependsOn,
      keeper: situation.keeper ?? null,
      unseen: situation.unseen ?? [],
    },
    clients,
    predictions: paces.flatMap((pace) => paceReport(prediction, pace)),
    check: check && {
      asked: check.asked,
      trials: check.trials,
      attemptsPerSecond: check.attemptsPerSecond,
      predictedMean: check.wait.mean,
      statistic: check.test.statistic,
      p: check.test.p,
    },
    neverCheck: question.neverCheck ?? null,
    holders: question.holders ?? [],
    environment: environment(),
  };
}

function paceReport(
  prediction: Prediction,
  { attemptsPerSecond }: PredictPace,
): PredictReport["predictions"] {
  const wait = prediction.wait(attemptsPerSecond);
  if (!wait) return [];
  const attempts = figuresOf(wait);
  const elapsedMs = elapsedMsOf(attempts, attemptsPerSecond);
  return [{ attemptsPerSecond, chancePerAttempt: wait.chancePerAttempt, attempts, elapsedMs }];
}

function figuresOf(wait: Wait): Figures {
  return { mean: wait.mean, median: wait.quantile(0.5), p90: wait.quantile(0.9), p99: wait.quantile(0.99) };
}

function elapsedMsOf({ mean, median, p90, p99 }: Figures, attemptsPerSecond: number): Figures {
  const ms = (attempts: number) => (attempts / attemptsPerSecond) * 1000;
  return { mean: ms(mean), median: ms(median), p90: ms(p90), p99: ms(p99) };
}

/** A prediction for a terminal: waits, what changes them, and the check. */
export function predictText(
  prediction: Prediction,
  question: PredictQuestion,
  options: TextOptions = {},
): string {
  const { peer, method, algorithm, basis, never, advice, situation } = prediction;
  const range = situation.ephemeralRange;
  const inRange = range ? `, ephemeral range ${range.low}-${range.high}` : "";
  const lines: Line[] = [
    `${formatAddress(peer)} by ${method}: ${algorithm.name} (${basis})${inRange}`,
    "",
    ...(never ? [neverLine(never)] : waitLines(prediction, question)),
    ...whileLines(prediction),
    `To be safe: ${advice}.`,
    "",
    "what changes it",
    ...indent("  ", tableLines(changesOf(prediction, question), "ll")),
    ...(question.check ? checkLines(question.check) : []),
    ...(question.neverCheck ? ["", neverCheckLine(question.neverCheck)] : []),
    ...onPortLines(question.holders ?? []),
  ];
  return renderText(lines, options);
}

function onPortLines(holders: PredictReport["holders"]): Line[] {
  return holders.length === 0 ? [] : ["", "now on the port", ...indent("  ", holders.flatMap(holderLines))];
}

/** The sockets on which the prediction depends: "while 40098 is in use". */
function whileLines({ situation, dependsOn: held, never }: Prediction): Line[] {
  const { unseen = [], keeper } = situation;
  const lines: Line[] = [];
  if (held.length > 0) {
    const named = held.slice(0, MOST_HELD).join(", ");
    const more = held.length - MOST_HELD;
    const rest = more > 0 ? ` and ${count(more)} more` : "";
    const verb = held.length === 1 ? "is" : "are";
    lines.push(`This holds while ${named}${rest} ${verb} in use.`);
  }
  if (keeper && never?.reason === "held") lines.push(`This holds while ${keeper} is there.`);
  if (unseen.length > 0) lines.push(`Not seen: ${unseen.join("; ")}.`);
  return lines;
}

function waitLines(prediction: Prediction, { paces, clients }: PredictQuestion): Line[] {
  const wait = prediction.wait(paces[0]!.attemptsPerSecond);
  if (!wait) return [[paint("bold", "unknown"), ": this host does not report net.ipv4.ip_local_port_range."]];
  const together = clients > 1 ? `, ${count(clients)} clients` : "";
  const rows = paces.flatMap(({ name, attemptsPerSecond }) => {
    const attempts = figuresOf(prediction.wait(attemptsPerSecond)!);
    const elapsedMs = elapsedMsOf(attempts, attemptsPerSecond);
    return [
      [name + together, ...Object.values(attempts).map(count)],
      ["", ...Object.values(elapsedMs).map(duration)],
    ];
  });
  return [
    `chance per attempt: 1 in ${count(1 / wait.chancePerAttempt)}`,
    ...tableLines([["", "mean", "median", "p90", "p99"], ...rows], "lrrrr", 3),
  ];
}

/** What would make a self-connect sooner, later or impossible. */
function changesOf(
  { peer, method }: Prediction,
  { clients }: PredictQuestion,
): [what: string, how: string][] {
  const changes: [string, string][] = [
    ["bind(P) before connect", "a self-connect at the first attempt"],
    ["IP_LOCAL_PORT_RANGE without P", "never: the guard does this"],
    ["P below the ephemeral range", "never, for every client: the cure"],
    ["P in ip_local_reserved_ports", "never, for every client that does not bind(P)"],
  ];
  if (method !== "bind") changes.push(["bind(2) with port 0 first", "the other parity (method bind)"]);
  if (method === "bind") changes.push(["SO_REUSEADDR before bind(0)", "the lower half of the range first"]);
  else changes.push(["SO_REUSEADDR", "nothing for a connect without bind"]);
  if (method !== "range") changes.push(["IP_LOCAL_PORT_RANGE, all", "6.8+: both parities (method range)"]);
  if (clients === 1)
    changes.push([`clients of ${peer.host} here`, "they share one walk: their attempts add up"]);
  return changes;
}

function checkLines({ trials, asked, attemptsPerSecond, test, wait, holds }: PredictionCheck): Line[] {
  const ofAsked = trials.length < asked ? ` of ${count(asked)}` : "";
  const title = `${count(trials.length)}${ofAsked} real self-connects, each from a start of its own`;
  const real = summarize(trials.map((trial) => trial.attempts));
  if (!real) return ["", title];
  const predicted = figuresOf(wait);
  const rows = [
    ["real", `mean ${count(real.mean)}, median ${count(real.median)}, p90 ${count(real.p90)}`],
    [
      "predicted",
      `mean ${count(predicted.mean)}, median ${count(predicted.median)}, p90 ${count(predicted.p90)}, ` +
        `at ${count(attemptsPerSecond)}/s`,
    ],
  ];
  const result = holds ? paint("green", "holds") : paint("red", "does not hold");
  const { statistic, p } = test;
  return [
    "",
    title,
    ...indent("  ", tableLines(rows, "ll")),
    "",
    ...dotPlot(bothCurves(trials, wait), { x: "attempts", y: "share joined to itself" }),
    "",
    [`Kolmogorov-Smirnov test: D = ${statistic.toFixed(4)}, p = ${p.toFixed(3)}: the prediction `, result],
    "(a right prediction has a p below 0.01 in one check of a hundred)",
  ];
}

function neverCheckLine({ attempts, selfConnects }: NeverCheck): Line {
  const result = selfConnects === 0 ? paint("green", "holds") : paint("red", "does not hold");
  return [
    `${pluralize(selfConnects, "self-connect")} in ${count(attempts)} attempts: the prediction `,
    result,
  ];
}

/** The measured trials as a staircase of dots, and the predicted curve. */
function bothCurves(trials: readonly MeasuredWait[], wait: Wait): { x: number; y: number }[] {
  const sorted = trials.map((trial) => trial.attempts).sort((a, b) => a - b);
  const stairs = sorted.map((x, index) => ({ x, y: (index + 1) / sorted.length }));
  const most = sorted.at(-1)!;
  const line = Array.from({ length: PLOT_POINTS + 1 }, (_, index) => {
    const x = Math.round((index / PLOT_POINTS) * most);
    return { x, y: wait.cdf(x) };
  });
  return [...stairs, ...line];
}
