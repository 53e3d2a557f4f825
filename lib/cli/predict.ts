/** selfconnect predict [peer]: how long until a client that keeps connecting is joined to itself. */
import { Argument, Command, Option } from "commander";
import { explainBind } from "../audit/index.ts";
import type { Address } from "../index.ts";
import { isOwnAddress } from "../kernel/index.ts";
import type { MeasuredWait, Method, Prediction, PredictionCheck } from "../ports/index.ts";
import {
  checkNever,
  checkPrediction,
  METHODS,
  PORT_ALGORITHMS,
  portAlgorithm,
  predict,
} from "../ports/index.ts";
import type { PredictPace, PredictReport } from "../report/index.ts";
import { predictReport, predictText } from "../report/index.ts";
import { count, duration } from "../report/numbers.ts";
import { DEFAULT_PEER, parseCount, parseDurationMs, parsePeer, parseRate } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import type { HostFlags } from "./on-hosts.ts";
import { addHostOptions, runHereOrThere } from "./on-hosts.ts";
import { interruption, LiveLine, textOptions } from "./output.ts";
import type { ResultFlags } from "./result-files.ts";
import { addBaselineOptions, addFileOptions, finishResult, readBaseline } from "./result-files.ts";

interface Flags extends HostFlags, ResultFlags {
  readonly method: Method;
  readonly every?: number;
  readonly rate?: number;
  readonly clients: number;
  readonly algorithm?: string;
  readonly reuseAddress?: boolean;
  readonly check?: number;
}

const FULL_SPEED = 50_000;

export function predictCommand(): Command {
  const command = new Command("predict")
    .description(
      "Observes how this host picks local ports and predicts how long a client that keeps connecting to the peer " +
        "takes to be joined to itself, or reports why that never happens. --check compares the prediction with " +
        "real self-connects.",
    )
    .addArgument(
      new Argument("[peer]", "the address that a client would connect to, in any form of dial")
        .argParser(parsePeer)
        .default(parsePeer(DEFAULT_PEER), DEFAULT_PEER),
    )
    .addOption(
      new Option("--method <name>", "how the client gets its local port").choices(METHODS).default("connect"),
    )
    .addOption(new Option("--every <time>", "assume one attempt per this time").argParser(parseDurationMs))
    .addOption(
      new Option("--rate <number>", "assume this many attempts per second")
        .argParser(parseRate)
        .conflicts("every"),
    )
    .option("--reuse-address", "the client sets SO_REUSEADDR before bind(2), as Node does (for method bind)")
    .option("--clients <count>", "how many clients connect at this pace", parseCount, 1)
    .addOption(
      new Option("--algorithm <name>", "how ports are picked (default: observed)").choices(
        PORT_ALGORITHMS.map(({ name }) => name),
      ),
    )
    .option("--check <trials>", "cause this many real self-connects (at least 10), and compare", parseCount)
    .option("--json", "print one object (docs/schema/predict-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (peer: Address, flags: Flags) => {
      process.exitCode = await runHereOrThere("predict", flags, () => runPredict(peer, flags));
    });
  return addHostOptions(
    addBaselineOptions(addFileOptions(command, { output: true, markdown: true, csv: true, html: true })),
  );
}

const EXAMPLES = `Examples:
  selfconnect predict 127.0.0.1:50000 --every 1s       a client that tries once a second
  selfconnect predict 127.0.0.1:50001                  never, and why
  selfconnect predict --check 200                      200 real self-connects beside the prediction
  selfconnect predict --baseline before.json           what changed since --output wrote that`;

async function runPredict(peer: Address, flags: Flags): Promise<number> {
  const signal = interruption();
  const baseline = readBaseline("predict", flags);
  const { method, clients } = flags;
  const algorithm = flags.algorithm === undefined ? undefined : portAlgorithm(flags.algorithm);
  const prediction = await predict({
    peer,
    method,
    reuseAddress: flags.reuseAddress === true,
    ...(algorithm && { algorithm }),
  });
  const isKnown = prediction.never !== null || prediction.wait(1) !== null;
  const isChecked = flags.check !== undefined && isKnown && !prediction.never;
  const check = isChecked ? await runCheck(prediction, flags.check!, signal) : null;
  const neverCheck =
    flags.check !== undefined && prediction.never ? await checkNever(prediction, signal) : null;
  const question = { clients, paces: pacesOf(flags), check, neverCheck, holders: findHolders(peer) };
  const result = {
    report: predictReport(prediction, question),
    text: () => predictText(prediction, question, textOptions()),
  };
  const isRefuted = (check && !check.holds) || (neverCheck && neverCheck.selfConnects > 0);
  const code = !isKnown || isRefuted ? EXIT.failed : EXIT.done;
  return finishResult(result, flags, baseline, signal.aborted ? EXIT.interrupted : code);
}

/** Who holds the peer's port now: a self-connect needs it free. */
function findHolders(peer: Address): PredictReport["holders"] {
  if (!isOwnAddress(peer)) return [];
  const inTheWay = explainBind(peer).holders.filter(({ isInTheWay }) => isInTheWay);
  return inTheWay.map(({ local, is, remedy }) => ({ local, is, remedy }));
}

async function runCheck(
  prediction: Prediction,
  trials: number,
  signal: AbortSignal,
): Promise<PredictionCheck> {
  using line = new LiveLine();
  const onTrial = (done: readonly MeasuredWait[]) => {
    line.show(`${count(done.length)} of ${count(trials)} self-connects`);
  };
  return await checkPrediction(prediction, { trials, signal, onTrial });
}

/** The pace of --every or --rate; without these a slow and a fast one. */
export function pacesOf(flags: Flags): PredictPace[] {
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
