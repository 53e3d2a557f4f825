/** selfconnect reconnect [peer]: the main job. */
import { setTimeout as sleep } from "node:timers/promises";
import { Argument, Command, Option } from "commander";
import type { JoinedMoment, Story } from "../audit/index.ts";
import { examineJoined, recordStory } from "../audit/index.ts";
import { WholeFile } from "../audit/whole-file.ts";
import type {
  Address,
  Engine,
  ReconnectOptions,
  ReconnectProgress,
  ReconnectResult,
  Strategy,
} from "../index.ts";
import { listenRefusal, ReconnectLoop, STRATEGIES } from "../index.ts";
import type { SocketOwner } from "../kernel/index.ts";
import { socketOwner, socketTable } from "../kernel/index.ts";
import type { PortSituation, Prediction } from "../ports/index.ts";
import { expectedRemaining, planColdStarts, situationFor, testWaits, whyNever } from "../ports/index.ts";
import type { ReconnectTrials } from "../report/index.ts";
import {
  neverText,
  reconnectAfterText,
  reconnectHarmText,
  reconnectProgressText,
  reconnectReport,
  reconnectStartText,
  reconnectText,
  storyHtml,
} from "../report/index.ts";
import { DEFAULT_PEER, parseCount, parseDurationMs, parsePeer, parseRate } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { exitAtNextInterruption, interruption, LiveLine, print, printNotice, textOptions } from "./output.ts";
import type { ResultFlags } from "./result-files.ts";
import { addBaselineOptions, addFileOptions, finishResult, readBaseline } from "./result-files.ts";

interface Flags extends ResultFlags {
  readonly strategy: Strategy;
  readonly engine: Engine | "auto";
  readonly attempts: number;
  readonly duration: number;
  readonly trials: number;
  readonly warmUp?: number;
  readonly cold?: boolean;
  readonly threads: number;
  readonly rate?: number;
  readonly ports?: string;
  readonly hold?: boolean;
}

const LOOK_EVERY_MS = 100;

export function reconnectCommand(): Command {
  const command = new Command("reconnect")
    .description(
      "Reconnects to a local port where nothing listens until the kernel picks the same port as the local one and " +
        "the socket is joined to itself. Then shows the socket, the harm it does, and that reset() ends the harm.",
    )
    .addArgument(
      new Argument("[peer]", "an address of this host, in any form of dial")
        .argParser(parsePeer)
        .default(parsePeer(DEFAULT_PEER), DEFAULT_PEER),
    )
    .addOption(
      new Option("--strategy <name>", "how an attempt gets its local port")
        .choices(STRATEGIES)
        .default("fresh"),
    )
    .addOption(
      new Option("--engine <name>", "what makes the attempts; auto tries both, and takes the cheaper one")
        .choices(["auto", "plain", "io_uring"])
        .default("auto"),
    )
    .option("--attempts <count>", "at most this many, in each trial", parseCount, 5_000_000)
    .addOption(
      new Option("--duration <time>", "at most this long, in each trial")
        .argParser(parseDurationMs)
        .default(60_000, "60s"),
    )
    .option("--trials <count>", "repeat, and print statistics of attempts and time", parseCount, 1)
    .option("--warm-up <count>", "make this many trials before, which do not count", parseCount)
    .option("--cold", "start each trial at a random place: with a peer's port of its own")
    .option("--threads <count>", "how many threads make attempts at the same time", parseCount, 1)
    .option("--rate <number>", "at most this many attempts per second", parseRate)
    .option("--ports <file>", "write the local port of every attempt, in order, one per line")
    .option("--hold", "keep the socket joined to itself until Ctrl-C, for ss and netstat")
    .option("--json", "print one object (docs/schema/reconnect-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (peer: Address, flags: Flags) => {
      process.exitCode = await runReconnect(peer, flags);
    });
  return addBaselineOptions(addFileOptions(command, FILES));
}

const FILES = {
  html: "write a page that explains what happened, with pictures, to somebody new to it",
  output: true,
  markdown: true,
  csv: true,
} as const;

const EXAMPLES = `Examples:
  selfconnect reconnect                                127.0.0.1:50000, as fast as the kernel can
  selfconnect reconnect '[::1]:50000' --strategy reuse  the same over IPv6, on one socket
  selfconnect reconnect --trials 30 --cold             how many attempts it takes, beside the exact distribution
  selfconnect reconnect --strategy bind --hold         at once; keep it for ss and netstat
  selfconnect reconnect --html story.html              a page that explains what happened`;

async function runReconnect(peer: Address, flags: Flags): Promise<number> {
  const signal = interruption();
  const baseline = readBaseline("reconnect", flags);
  const situation = situationFor(peer, flags.strategy);
  const never = whyNever(peer, flags.strategy, situation);
  if (never) {
    const words = { ...never, instead: nameFlag(never.instead) };
    console.error(neverText(words, textOptions(process.stderr)));
  }
  const { results, story, trials } = await runTrials(peer, flags, situation, signal);
  const last = results.at(-1)!;
  const isOne = flags.trials === 1 && last.verdict === "self-connect";
  const result = {
    report: reconnectReport(results, never, trials),
    text: isOne
      ? null
      : () => reconnectText(results, { ...textOptions(), listener: listenerOf(last), trials }),
    ...(story && { html: () => storyHtml(story, results.length > 1 ? { ...trials, results } : null) }),
  };
  if (isOne && !flags.json) await showOne(last, story, flags, signal);
  const code = finishResult(result, flags, baseline, exitCode(results));
  if (isOne && flags.json) await showOne(last, story, flags, signal);
  else if (!isOne && flags.hold && last.verdict === "self-connect")
    await waitForInterrupt(last.local!, signal);
  last.socket?.reset();
  if (story) printNotice([`written ${flags.html}: open it in a browser`]);
  return code;
}

/** Shows the only trial, unless its story has done that while the socket was open, and what a reset changes. */
async function showOne(
  last: ReconnectResult,
  story: Story | null,
  flags: Flags,
  signal: AbortSignal,
): Promise<void> {
  if (!story) await showWhileOpen(await examineJoined(last.socket!), last, flags, signal);
  last.socket?.reset();
  if (!flags.json) print(reconnectAfterText(last.local!, listenRefusal(last.local!), textOptions()));
}

/** Prints the moment and the harm, and keeps the socket with --hold. */
export async function showWhileOpen(
  moment: JoinedMoment,
  result: ReconnectResult,
  flags: Pick<Flags, "hold" | "json">,
  signal: AbortSignal,
): Promise<void> {
  if (!flags.json) {
    print(reconnectText([result], { ...textOptions(), moment }));
    print(reconnectHarmText(moment, textOptions()));
  }
  if (flags.hold) await waitForInterrupt(moment.local, signal);
}

/** Turns the library's advice about a strategy into the flag that sets it. */
function nameFlag(advice: string): string {
  return advice.replace("strategy ", "--strategy ");
}

interface TrialsRun {
  readonly results: ReconnectResult[];
  readonly story: Story | null;
  readonly trials: ReconnectTrials;
}

/**
 * Runs one loop per trial, resets its socket before the next, and stops where one does not self-connect. With --html,
 * the first one that counts is recorded.
 */
async function runTrials(
  peer: Address,
  flags: Flags,
  situation: PortSituation,
  signal: AbortSignal,
): Promise<TrialsRun> {
  using ports = flags.ports === undefined ? null : new PortFile(flags.ports);
  if (ports) signal.addEventListener("abort", exitAtNextInterruption, { once: true });
  using line = new LiveLine();
  const warmUp = flags.warmUp ?? 0;
  const all = warmUp + flags.trials;
  const loops = { ...loopOptions(peer, flags), ...(ports && { onPorts: ports.append }), signal };
  const pace = flags.rate === undefined ? {} : { attemptsPerSecond: flags.rate };
  const first = new ReconnectLoop(loops); // Wrong options throw before anything is printed.
  const cold = flags.cold ? await planColdStarts(peer, flags.strategy, situation, all) : null;
  const peers = cold ? freePeers(cold.peers) : null;
  if (!flags.json) print(reconnectStartText(first, situation, pace));
  const made: ReconnectResult[] = [];
  let story: Story | null = null;
  for (let trial = 1; trial <= all; trial++) {
    const next = peers ? peers.next().value : peer;
    if (!next) {
      printNotice([`no port is left for trial ${trial}: servers have been started on the others`]);
      break;
    }
    const options = { ...loops, peer: next };
    const onProgress = progressOf(line, options.peer, { trial, all, warmUp }, flags, situation);
    if (trial === warmUp + 1 && flags.html !== undefined) {
      story = await recordStory({
        ...options,
        onProgress,
        async whileOpen(moment, result) {
          line.clear();
          if (flags.trials === 1) await showWhileOpen(moment, result, flags, signal);
        },
      });
      made.push({ ...story.result, socket: null });
    } else made.push(await runWithProgress(trial === 1 ? first : new ReconnectLoop(options), onProgress));
    const result = made.at(-1)!;
    if (result.verdict !== "self-connect") break;
    if (trial < all) result.socket?.reset();
  }
  ports?.commit();
  // A trial that ends the run counts, whichever it is.
  const results = made.length > warmUp ? made.slice(warmUp) : made.slice(-1);
  const law = cold && lawOf(cold.prediction, results, flags.strategy);
  return { results, story, trials: { starts: cold ? "cold" : "chained", warmUp, law } };
}

/** The peer that was asked for, then those where no server has been started in the meantime. */
function* freePeers([asked, ...others]: readonly Address[]): Generator<Address> {
  if (asked) yield asked;
  for (const other of others) if (listenRefusal(other) === null) yield other;
}

/** The law of the attempts; null where every trial takes one, and where one did not end, which no law allows for. */
function lawOf(
  prediction: Prediction,
  results: readonly ReconnectResult[],
  strategy: Strategy,
): ReconnectTrials["law"] {
  const isCertain = strategy === "bind" || strategy === "range";
  const isDone = results.every(({ verdict }) => verdict === "self-connect");
  if (isCertain || !isDone || prediction.never !== null || prediction.wait(1) === null) return null;
  const waits = results.map(({ peer, attempts, elapsedMs }) => ({ port: peer.port, attempts, elapsedMs }));
  return { ...testWaits(prediction, waits), algorithm: prediction.algorithm.name };
}

/** Shows a loop's progress; for how long it goes on is known for the peer that was asked for. */
function progressOf(
  line: LiveLine,
  peer: Address,
  { trial, all, warmUp }: { readonly trial: number; readonly all: number; readonly warmUp: number },
  flags: Flags,
  situation: PortSituation,
): (progress: ReconnectProgress) => void {
  const findRemaining = flags.cold ? null : expectedRemaining(peer, flags.strategy, situation);
  const number = trial > warmUp ? `trial ${trial - warmUp}/${all - warmUp}` : `warm-up ${trial}/${warmUp}`;
  const prefix = all > 1 ? `${number} · ` : "";
  return (progress) => {
    const remaining = progress.localPort ? (findRemaining?.(progress.localPort) ?? null) : null;
    line.show(prefix + reconnectProgressText(progress, situation.ephemeralRange, remaining));
  };
}

function loopOptions(peer: Address, flags: Flags): ReconnectOptions {
  const { strategy, engine, attempts, duration: durationMs, threads, rate } = flags;
  const limits = { attempts, durationMs, threads };
  return { peer, strategy, engine, ...limits, ...(rate !== undefined && { attemptsPerSecond: rate }) };
}

async function runWithProgress(
  loop: ReconnectLoop,
  look: (progress: ReconnectProgress) => void,
): Promise<ReconnectResult> {
  const timer = setInterval(() => look(loop.progress()), LOOK_EVERY_MS);
  try {
    return await loop.run();
  } finally {
    clearInterval(timer);
  }
}

/** Waits until Ctrl-C. Prints how to look at the socket to stderr, because stdout may be a JSON object. */
async function waitForInterrupt(local: Address, signal: AbortSignal): Promise<void> {
  printNotice([
    "",
    `pid ${process.pid} keeps the socket until Ctrl-C; in another terminal:`,
    `  ss -tanp 'sport = :${local.port}'`,
    `  netstat -tanp | grep ${local.port}`,
    "",
  ]);
  const day = 86_400_000;
  while (!signal.aborted) await sleep(day, undefined, { signal }).catch(() => undefined);
}

/** The owner of the listener that a loop connected to; null without one. */
function listenerOf({ verdict, peer }: ReconnectResult): SocketOwner | null {
  if (verdict !== "connected") return null;
  try {
    const row = socketTable().find((one) => one.state === "LISTEN" && one.local.port === peer.port);
    return row ? socketOwner(row.inode) : null;
  } catch {
    return null; // Only Linux reports the owner, and the result is complete without it.
  }
}

function exitCode(results: readonly ReconnectResult[]): number {
  if (results.some((result) => result.verdict === "interrupted")) return EXIT.interrupted;
  return results.every((result) => result.verdict === "self-connect") ? EXIT.done : EXIT.failed;
}

/** The file of --ports, one port per line. Opened with the first ports, when all flags have been checked. */
class PortFile implements Disposable {
  readonly #path: string;
  #file: WholeFile | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  readonly append = (ports: Uint16Array): void => {
    this.#file ??= new WholeFile(this.#path);
    if (ports.length > 0) this.#file.append(`${ports.join("\n")}\n`);
  };

  commit(): void {
    this.#file?.commit();
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
  }
}
