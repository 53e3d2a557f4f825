/** selfconnect reconnect [peer]: the main job. */
import { setTimeout as sleep } from "node:timers/promises";
import { Argument, Command, Option } from "commander";
import { explainBind } from "../audit/index.ts";
import { WholeFile } from "../audit/whole-file.ts";
import type { Address, Engine, ReconnectProgress, ReconnectResult, Strategy, TcpSocket } from "../index.ts";
import { listenRefusal, ReconnectLoop, STRATEGIES } from "../index.ts";
import type { SocketOwner } from "../kernel/index.ts";
import { findFourTuple, socketOwner, socketTable } from "../kernel/index.ts";
import type { PortSituation } from "../ports/index.ts";
import { expectedRemaining, situationFor, whyNever } from "../ports/index.ts";
import type { ReconnectTextOptions } from "../report/index.ts";
import {
  neverText,
  reconnectAfterText,
  reconnectHarmText,
  reconnectProgressText,
  reconnectReport,
  reconnectStartText,
  reconnectText,
} from "../report/index.ts";
import { DEFAULT_PEER, parseCount, parseDurationMs, parsePeer, parseRate } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import {
  exitAtNextInterruption,
  interruption,
  LiveLine,
  print,
  printJson,
  printNotice,
  textOptions,
} from "./output.ts";

interface Flags {
  readonly strategy: Strategy;
  readonly engine: Engine | "auto";
  readonly attempts: number;
  readonly duration: number;
  readonly trials: number;
  readonly threads: number;
  readonly rate?: number;
  readonly ports?: string;
  readonly hold?: boolean;
  readonly json?: boolean;
}

const LOOK_EVERY_MS = 100;
const SECRET = "hello, myself";
const ECHO_WAIT_MS = 1000;

export function reconnectCommand(): Command {
  return new Command("reconnect")
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
    .option("--threads <count>", "how many threads make attempts at the same time", parseCount, 1)
    .option("--rate <number>", "at most this many attempts per second", parseRate)
    .option("--ports <file>", "write the local port of every attempt, in order, one per line")
    .option("--hold", "keep the socket joined to itself until Ctrl-C, for ss and netstat")
    .option("--json", "print one object (docs/schema/reconnect-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (peer: Address, flags: Flags) => {
      process.exitCode = await runReconnect(peer, flags);
    });
}

const EXAMPLES = `Examples:
  selfconnect reconnect                                the article's port, at full speed
  selfconnect reconnect '[::1]:50000' --strategy reuse the same over IPv6, on one socket
  selfconnect reconnect --trials 30 --json             how many attempts it takes
  selfconnect reconnect --strategy bind --hold         at once; keep it for ss and netstat`;

async function runReconnect(peer: Address, flags: Flags): Promise<number> {
  const signal = interruption();
  const situation = situationFor(peer, flags.strategy);
  const never = whyNever(peer, flags.strategy, situation);
  if (never) {
    const words = { ...never, instead: nameFlag(never.instead) };
    console.error(neverText(words, textOptions(process.stderr)));
  }
  const results = await runTrials(peer, flags, situation, signal);
  const last = results.at(-1)!;
  const isJoined = last.verdict === "self-connect";
  if (flags.json) printJson(reconnectReport(results, never));
  else print(reconnectText(results, { ...textOptions(), ...socketFacts(last) }));
  if (isJoined && !flags.json && (flags.trials === 1 || flags.hold)) {
    await showHarm(last.socket!, last.local!, flags, signal);
  } else if (isJoined && flags.hold) {
    await waitForInterrupt(last.local!, signal);
  }
  last.socket?.reset();
  return exitCode(results);
}

/** Turns the library's advice about a strategy into the flag that sets it. */
function nameFlag(advice: string): string {
  return advice.replace("strategy ", "--strategy ");
}

/** Runs one loop per trial, resets its socket before the next, and stops where one does not self-connect. */
async function runTrials(
  peer: Address,
  flags: Flags,
  situation: PortSituation,
  signal: AbortSignal,
): Promise<ReconnectResult[]> {
  using ports = flags.ports === undefined ? null : new PortFile(flags.ports);
  if (ports) signal.addEventListener("abort", exitAtNextInterruption, { once: true });
  using line = new LiveLine();
  const results: ReconnectResult[] = [];
  const findRemaining = expectedRemaining(peer, flags.strategy, situation);
  for (let trial = 1; trial <= flags.trials; trial++) {
    const loop = new ReconnectLoop({
      peer,
      strategy: flags.strategy,
      engine: flags.engine,
      attempts: flags.attempts,
      durationMs: flags.duration,
      threads: flags.threads,
      ...(flags.rate !== undefined && { attemptsPerSecond: flags.rate }),
      ...(ports && { onPorts: (batch: Uint16Array) => ports.append(batch) }),
    });
    const pace = flags.rate === undefined ? {} : { attemptsPerSecond: flags.rate };
    if (trial === 1 && !flags.json) print(reconnectStartText(loop, situation, pace));
    const result = await runWithProgress(loop, signal, (progress) => {
      const prefix = flags.trials > 1 ? `trial ${trial}/${flags.trials} · ` : "";
      const remaining = progress.localPort ? findRemaining(progress.localPort) : null;
      line.show(prefix + reconnectProgressText(progress, situation.ephemeralRange, remaining));
    });
    results.push(result);
    if (result.verdict !== "self-connect") break;
    if (trial < flags.trials) result.socket?.reset();
  }
  ports?.commit();
  return results;
}

async function runWithProgress(
  loop: ReconnectLoop,
  signal: AbortSignal,
  look: (progress: ReconnectProgress) => void,
): Promise<ReconnectResult> {
  const timer = setInterval(() => look(loop.progress()), LOOK_EVERY_MS);
  try {
    return await loop.run(signal);
  } finally {
    clearInterval(timer);
  }
}

/** What the kernel's socket tables add to a result. */
function socketFacts({ verdict, local, peer }: ReconnectResult): ReconnectTextOptions {
  if (verdict === "connected") return { listener: listenerOwner(peer) };
  if (verdict !== "self-connect" || !local) return {};
  try {
    return { rows: findFourTuple(local, local).map((row) => [row, socketOwner(row.inode)] as const) };
  } catch (error) {
    return { rows: (error as Error).message }; // Only Linux has /proc/net/tcp.
  }
}

/** Prints the harm, and that a reset ends it. */
export async function showHarm(
  socket: TcpSocket,
  local: Address,
  flags: Pick<Flags, "hold">,
  signal: AbortSignal,
): Promise<void> {
  const refusal = listenRefusal(local);
  const received = new TextDecoder().decode(await echo(socket, new TextEncoder().encode(SECRET)));
  const { holders } = explainBind(local);
  print(reconnectHarmText({ local, refusal, holders, sent: SECRET, received }, textOptions()));
  if (flags.hold) await waitForInterrupt(local, signal);
  socket.reset();
  print(reconnectAfterText(local, listenRefusal(local), textOptions()));
}

/** Sends bytes and returns what the same socket then receives. */
async function echo(socket: TcpSocket, bytes: Uint8Array): Promise<Uint8Array> {
  socket.send(bytes);
  const received = new Uint8Array(bytes.length);
  const endsAt = performance.now() + ECHO_WAIT_MS;
  let length = 0;
  while (length < received.length && performance.now() < endsAt) {
    const count = socket.recv(received.subarray(length));
    if (count === 0) break;
    if (count === null) await sleep(1);
    else length += count;
  }
  return received.subarray(0, length);
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

function listenerOwner(peer: Address): SocketOwner | null {
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

  append(ports: Uint16Array): void {
    this.#file ??= new WholeFile(this.#path);
    if (ports.length > 0) this.#file.append(`${ports.join("\n")}\n`);
  }

  commit(): void {
    this.#file?.commit();
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
  }
}
