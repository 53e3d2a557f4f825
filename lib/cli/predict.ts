/** selfconnect predict [peer]: how long until a client that connects again and again is joined to itself. */
import { Argument, Command, Option } from "commander";
import type { Address, TestResult } from "../index.ts";
import { formatAddress, goodnessOfFit, summarize } from "../index.ts";
import { environment, portFacts } from "../kernel/index.ts";
import type { MeasuredWait, Method, Prediction, Wait } from "../ports/index.ts";
import { METHODS, measureWaits, PORT_ALGORITHMS, portAlgorithm, predict } from "../ports/index.ts";
import { dotPlot } from "../report/index.ts";
import { DEFAULT_PEER, parseCount, parseDurationMs, parsePeer, parseRate } from "./arguments.ts";
import { count, duration, INTERRUPTED, interruption, LiveLine, styled } from "./output.ts";

interface Flags {
  readonly method: Method;
  readonly every?: number;
  readonly rate?: number;
  readonly clients: number;
  readonly algorithm?: string;
  readonly check?: number;
  readonly json?: boolean;
}

/** A pace of attempts, all clients together. */
interface Pace {
  readonly name: string;
  readonly attemptsPerSecond: number;
}

interface Check {
  readonly trials: readonly MeasuredWait[];
  readonly attemptsPerSecond: number;
  readonly test: TestResult;
  readonly wait: Wait;
}

const FULL_SPEED = 50_000;
/** A right model gives a smaller p once in a hundred checks. */
const LEAST_P = 0.01;
const FEWEST_TRIALS = 10;
const QUANTILES = [0.5, 0.9, 0.99] as const;
const PLOT_POINTS = 200;

export function predictCommand(): Command {
  return new Command("predict")
    .summary("how many attempts and how long until a self-connect, or why never")
    .description(
      "Observes how this host picks local ports, and predicts how long a client that connects to the peer again " +
        "and again takes to be joined to itself, or says why it never will be. --check holds it against reality.",
    )
    .addArgument(
      new Argument("[peer]", "where nothing listens, or one day will not")
        .argParser(parsePeer)
        .default(parsePeer(DEFAULT_PEER), DEFAULT_PEER),
    )
    .addOption(
      new Option("--method <name>", "how the client gets its local port").choices(METHODS).default("connect"),
    )
    .addOption(new Option("--every <time>", "one attempt in this time").argParser(parseDurationMs))
    .addOption(new Option("--rate <number>", "attempts per second").argParser(parseRate).conflicts("every"))
    .option("--clients <count>", "how many such clients there are", parseCount, 1)
    .addOption(
      new Option("--algorithm <name>", "how ports are picked (default: observed)").choices(
        PORT_ALGORITHMS.map(({ name }) => name),
      ),
    )
    .option("--check <trials>", "make this many real self-connects, and test the prediction", parseCount)
    .option("--json", "print one object (docs/schema/predict-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (peer: Address, flags: Flags) => {
      process.exitCode = await predictAndTell(peer, flags);
    });
}

const EXAMPLES = `Examples:
  selfconnect predict 127.0.0.1:50000 --every 1s       a client that tries once a second
  selfconnect predict 127.0.0.1:50001                  never, and why
  selfconnect predict --check 200                      200 real self-connects beside the prediction`;

async function predictAndTell(peer: Address, flags: Flags): Promise<number> {
  const signal = interruption();
  const { method } = flags;
  const algorithm = flags.algorithm === undefined ? undefined : portAlgorithm(flags.algorithm);
  const prediction = await predict({ peer, method, ...(algorithm && { algorithm }) });
  const check = flags.check !== undefined && !prediction.never ? await held(prediction, flags, signal) : null;
  if (flags.json) console.log(JSON.stringify(report(prediction, flags, check), null, 2));
  else tell(prediction, flags, check);
  if (signal.aborted) return INTERRUPTED;
  return check && !(check.test.p >= LEAST_P) ? 1 : 0;
}

/** Real waits, each towards a port of its own, and the test of the prediction at the rate that they had. */
export async function held(prediction: Prediction, flags: Flags, signal: AbortSignal): Promise<Check> {
  using line = new LiveLine();
  const { host, family } = prediction.peer;
  const trials = await measureWaits({
    host,
    family,
    method: flags.method,
    count: Math.max(FEWEST_TRIALS, flags.check!),
    signal,
    onWait: (done) => line.show(`${count(done.length)} of ${count(flags.check!)} self-connects`),
  });
  const attempts = trials.map((trial) => trial.attempts);
  const elapsedMs = sum(trials.map((trial) => trial.elapsedMs));
  const attemptsPerSecond = elapsedMs > 0 ? (sum(attempts) * 1000) / elapsedMs : FULL_SPEED;
  const wait = prediction.wait(attemptsPerSecond)!;
  return { trials, attemptsPerSecond, wait, test: goodnessOfFit(attempts, wait.cdf) };
}

function paces(flags: Flags): Pace[] {
  const { every, rate, clients } = flags;
  const together = (attemptsPerSecond: number) => attemptsPerSecond * clients;
  if (every !== undefined) {
    return [{ name: `every ${duration(every)}`, attemptsPerSecond: together(1000 / every) }];
  }
  if (rate !== undefined) return [{ name: `${count(rate)}/s`, attemptsPerSecond: together(rate) }];
  return [
    { name: "every 1 s", attemptsPerSecond: together(1) },
    { name: `${count(FULL_SPEED)}/s`, attemptsPerSecond: together(FULL_SPEED) },
  ];
}

export function tell(prediction: Prediction, flags: Flags, check: Check | null): void {
  const { peer, method, algorithm, basis, never } = prediction;
  const range = portFacts().ephemeralRange;
  const inRange = range ? `, ephemeral range ${range.low}-${range.high}` : "";
  console.log(`${formatAddress(peer)} by ${method}: ${algorithm.name} (${basis})${inRange}\n`);
  if (never) {
    console.log(`${styled("bold", "never")}, because ${never.because}.\nInstead: ${never.instead}.`);
  } else {
    tellWaits(prediction, flags);
  }
  tellChanges(prediction, flags);
  if (check) tellCheck(check);
}

function tellWaits(prediction: Prediction, flags: Flags): void {
  const row = (name: string, cells: string[]) =>
    name.padEnd(24) + cells.map((cell) => cell.padStart(10)).join("");
  for (const [index, { name, attemptsPerSecond }] of paces(flags).entries()) {
    const wait = prediction.wait(attemptsPerSecond)!;
    if (index === 0) {
      console.log(`chance per attempt: 1 in ${count(1 / wait.chancePerAttempt)}`);
      console.log(row("", ["mean", "median", "p90", "p99"]));
    }
    const attempts = figures(wait);
    const clients = flags.clients > 1 ? `, ${count(flags.clients)} clients` : "";
    console.log(row(`${name}${clients}`, attempts.map(count)));
    console.log(
      row(
        "",
        attempts.map((number) => duration((number / attemptsPerSecond) * 1000)),
      ),
    );
  }
}

function figures(wait: Wait): number[] {
  return [wait.mean, ...QUANTILES.map((chance) => wait.quantile(chance))];
}

function tellChanges({ peer, method }: Prediction, flags: Flags): void {
  const changes: [string, string][] = [
    ["bind(P) before connect", "a self-connect at the first attempt"],
    ["IP_LOCAL_PORT_RANGE without P", "never: what the guard does"],
    ["P below the ephemeral range", "never, for every client: the cure"],
    ["P in ip_local_reserved_ports", "never, for every client that does not bind(P)"],
  ];
  if (method !== "bind") changes.push(["bind(2) with port 0 first", "the other parity (--method bind)"]);
  if (method === "bind") changes.push(["SO_REUSEADDR before bind(0)", "the lower half of the range first"]);
  else changes.push(["SO_REUSEADDR", "nothing for a connect without bind"]);
  if (method !== "range") changes.push(["IP_LOCAL_PORT_RANGE, all", "6.8+: both parities (--method range)"]);
  if (flags.clients === 1)
    changes.push([`clients of ${peer.host} here`, "one walk: attempts add up (--clients)"]);
  console.log("\nwhat changes it");
  for (const [what, how] of changes) console.log(`  ${what.padEnd(30)} ${how}`);
}

function tellCheck({ trials, attemptsPerSecond, test, wait }: Check): void {
  console.log(`\n${count(trials.length)} real self-connects, each on a port of its own`);
  if (trials.length === 0) return;
  const real = summarize(trials.map((trial) => trial.attempts))!;
  console.log(`  real       mean ${count(real.mean)}, median ${count(real.median)}, p90 ${count(real.p90)}`);
  const [mean, median, p90] = figures(wait).map(count);
  console.log(`  predicted  mean ${mean}, median ${median}, p90 ${p90}, at ${count(attemptsPerSecond)}/s\n`);
  for (const text of dotPlot(bothCurves(trials, wait), { x: "attempts", y: "share that is joined" })) {
    console.log(text);
  }
  const { statistic, p } = test;
  const holds = p >= LEAST_P ? styled("green", "holds") : styled("red", "does not hold");
  console.log(
    `\nKolmogorov-Smirnov: D = ${statistic.toFixed(4)}, p = ${p.toFixed(3)}: the prediction ${holds}`,
  );
}

/** Every trial is a dot of the stairs, and the prediction is the smooth line through them. */
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

/** The object of docs/schema/predict-1.json. */
export function report(prediction: Prediction, flags: Flags, check: Check | null) {
  const { peer, method, algorithm, basis, never } = prediction;
  return {
    schema: "selfconnect.predict/1",
    peer: { family: peer.family, host: peer.host, port: peer.port },
    method,
    algorithm: algorithm.name,
    basis,
    never,
    clients: flags.clients,
    predictions: never ? [] : paces(flags).map((pace) => paceReport(prediction, pace)),
    check: check && {
      trials: check.trials,
      attemptsPerSecond: check.attemptsPerSecond,
      predictedMean: check.wait.mean,
      statistic: check.test.statistic,
      p: check.test.p,
    },
    environment: environment(),
  };
}

function paceReport(prediction: Prediction, { attemptsPerSecond }: Pace) {
  const wait = prediction.wait(attemptsPerSecond)!;
  const [mean, median, p90, p99] = figures(wait);
  const ms = (attempts: number) => (attempts / attemptsPerSecond) * 1000;
  return {
    attemptsPerSecond,
    chancePerAttempt: wait.chancePerAttempt,
    attempts: { mean, median, p90, p99 },
    elapsedMs: { mean: ms(mean!), median: ms(median!), p90: ms(p90!), p99: ms(p99!) },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
