/** selfconnect reconnect [peer]: the main job. */
import { closeSync, openSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Argument, Command, Option } from "commander";
import type { Address, ReconnectProgress, ReconnectResult, Strategy, TcpSocket, Trial } from "../index.ts";
import { formatAddress, listenRefusal, ReconnectLoop, summarizeTrials } from "../index.ts";
import { environment, findFourTuple, portFacts, socketOwner, socketTable } from "../kernel/index.ts";
import type { Never } from "../ports/index.ts";
import { expectedAttempts, expectedRemaining, whyNever } from "../ports/index.ts";
import { NETSTAT_HEADER, netstatText } from "../report/index.ts";
import { DEFAULT_PEER, parseCount, parseDurationMs, parsePeer, parseRate } from "./arguments.ts";
import { count, duration, INTERRUPTED, interruption, LiveLine, styled } from "./output.ts";

interface Flags {
  readonly strategy: Strategy;
  readonly attempts: number;
  readonly duration: number;
  readonly trials: number;
  readonly threads: number;
  readonly rate?: number;
  readonly ports?: string;
  readonly hold?: boolean;
  readonly json?: boolean;
}

const STRATEGIES: Strategy[] = ["fresh", "reuse", "autobind", "bind", "range"];
const LOOK_EVERY_MS = 100;
const BAR_WIDTH = 8;
const SECRET = "hello, myself";
const ECHO_WAIT_MS = 1000;

export function reconnectCommand(): Command {
  return new Command("reconnect")
    .summary("reconnect to a local port where nothing listens, until joined to itself")
    .description(
      "Reconnects to a local port where nothing listens until the kernel picks that very port as the local one and " +
        "the socket is joined to itself. Then shows the socket, the harm it does, and that reset() undoes it.",
    )
    .addArgument(
      new Argument("[peer]", "an address of this host")
        .argParser(parsePeer)
        .default(parsePeer(DEFAULT_PEER), DEFAULT_PEER),
    )
    .addOption(
      new Option("--strategy <name>", "how an attempt gets its local port")
        .choices(STRATEGIES)
        .default("fresh"),
    )
    .option("--attempts <count>", "at most this many, in each trial", parseCount, 5_000_000)
    .addOption(
      new Option("--duration <time>", "at most this long, in each trial")
        .argParser(parseDurationMs)
        .default(60_000, "60s"),
    )
    .option("--trials <count>", "repeat, and sum up attempts and time", parseCount, 1)
    .option("--threads <count>", "how many threads make attempts at a time", parseCount, 1)
    .option("--rate <number>", "at most this many attempts per second", parseRate)
    .option("--ports <file>", "write the local port of every attempt, in order, one a line")
    .option("--hold", "keep the socket joined to itself until Ctrl-C, for ss and netstat")
    .option("--json", "print one object (docs/schema/reconnect-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (peer: Address, flags: Flags) => {
      process.exitCode = await reconnect(peer, flags);
    });
}

const EXAMPLES = `Examples:
  selfconnect reconnect                                the article's port, at full speed
  selfconnect reconnect '[::1]:50000' --strategy reuse the same over IPv6, on one socket
  selfconnect reconnect --trials 30 --json             how many attempts it takes
  selfconnect reconnect --strategy bind --hold         at once, and kept for ss and netstat`;

async function reconnect(peer: Address, flags: Flags): Promise<number> {
  const signal = interruption();
  const never = whyNever(peer, flags.strategy, portFacts());
  if (never)
    console.error(`${styled("yellow", "never")}, because ${never.because}. Instead: ${never.instead}.`);
  const results = await runTrials(peer, flags, signal);
  if (flags.json) await print(report(results, never), results, flags, signal);
  else await tell(results, flags, signal);
  results.at(-1)?.socket?.reset();
  return exitCode(results);
}

async function print(
  object: object,
  results: readonly ReconnectResult[],
  flags: Flags,
  signal: AbortSignal,
): Promise<void> {
  console.log(JSON.stringify(object, null, 2));
  const last = results.at(-1)!;
  if (flags.hold && last.verdict === "self-connect") await hold(last.local!, signal);
}

/** One loop after another, each reset before the next, until one does not self-connect. */
async function runTrials(peer: Address, flags: Flags, signal: AbortSignal): Promise<ReconnectResult[]> {
  using ports = flags.ports === undefined ? null : new PortFile(flags.ports);
  using line = new LiveLine();
  const results: ReconnectResult[] = [];
  for (let trial = 1; trial <= flags.trials; trial++) {
    const loop = new ReconnectLoop({
      peer,
      strategy: flags.strategy,
      attempts: flags.attempts,
      durationMs: flags.duration,
      threads: flags.threads,
      ...(flags.rate !== undefined && { attemptsPerSecond: flags.rate }),
      ...(ports && { onPorts: (batch: Uint16Array) => ports.append(batch) }),
    });
    if (trial === 1 && !flags.json) announce(loop);
    const result = await watched(loop, signal, (progress) => {
      line.show(liveText(loop, progress, flags.trials > 1 ? `trial ${trial}/${flags.trials} · ` : ""));
    });
    results.push(result);
    if (result.verdict !== "self-connect") break;
    if (trial < flags.trials) result.socket?.reset();
  }
  return results;
}

async function watched(
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

export function announce(loop: ReconnectLoop): void {
  const facts = portFacts();
  const range = facts.ephemeralRange;
  const attempts = expectedAttempts(loop.peer, loop.strategy, facts);
  const inRange = range ? `, ephemeral range ${range.low}-${range.high}` : "";
  const expected = attempts ? `, about ${count(attempts)} attempt${attempts === 1 ? "" : "s"} expected` : "";
  console.log(`reconnecting to ${formatAddress(loop.peer)}: strategy ${loop.strategy}${inRange}${expected}`);
}

export function liveText(loop: ReconnectLoop, progress: ReconnectProgress, prefix: string): string {
  const facts = portFacts();
  const { attempts, attemptsPerSecond, localPort, elapsedMs } = progress;
  const parts = [`${count(attempts)} attempts`, `${count(attemptsPerSecond)}/s`];
  if (localPort && facts.ephemeralRange) parts.push(rangeBar(localPort, facts.ephemeralRange));
  parts.push(duration(elapsedMs));
  const never = whyNever(loop.peer, loop.strategy, facts);
  const left = localPort && !never ? expectedRemaining(loop.peer, localPort, facts) : null;
  if (left !== null && attemptsPerSecond > 0)
    parts.push(`~${duration((left / attemptsPerSecond) * 1000)} to go`);
  return prefix + parts.join(" · ");
}

/** Where a port stands in the ephemeral range: "port 45678 ━━━●────". */
function rangeBar(port: number, range: { low: number; high: number }): string {
  const share = (port - range.low) / (range.high - range.low + 1);
  const at = Math.min(BAR_WIDTH - 1, Math.max(0, Math.floor(share * BAR_WIDTH)));
  return `port ${port} ${"━".repeat(at)}●${"─".repeat(BAR_WIDTH - 1 - at)}`;
}

export async function tell(
  results: readonly ReconnectResult[],
  flags: Flags,
  signal: AbortSignal,
): Promise<void> {
  const last = results.at(-1)!;
  if (flags.trials > 1) tellTrials(results);
  if (last.verdict !== "self-connect") return tellFailure(last);
  if (flags.trials === 1) tellMoment(last);
  if (flags.trials === 1 || flags.hold) await tellHarm(last.socket!, last.local!, flags, signal);
}

function tellTrials(results: readonly ReconnectResult[]): void {
  const { attempts, elapsedMs } = summarizeTrials(results);
  const done = results.filter((result) => result.verdict === "self-connect").length;
  console.log(`${count(done)} of ${count(results.length)} trials self-connected`);
  if (!attempts || !elapsedMs) return;
  const columns = ["min", "median", "mean", "p90", "max"] as const;
  const row = (name: string, cells: string[]) =>
    name.padEnd(10) + cells.map((cell) => cell.padStart(11)).join("");
  console.log(row("", [...columns]));
  console.log(
    row(
      "attempts",
      columns.map((column) => count(attempts[column])),
    ),
  );
  console.log(
    row(
      "time",
      columns.map((column) => duration(elapsedMs[column])),
    ),
  );
}

function tellFailure(result: ReconnectResult): void {
  const made = `${attemptsText(result.attempts)} in ${duration(result.elapsedMs)}`;
  const outcomes = Object.entries(result.outcomes).map(([name, number]) => `${name} ${count(number)}`);
  const verdicts = {
    connected: `connected to a listener, not to itself: ${listenerText(result.peer)}`,
    "attempts-spent": "not joined to itself: the attempts are spent (--attempts)",
    deadline: "not joined to itself: the time is up (--duration)",
    interrupted: "interrupted, not joined to itself",
    "self-connect": "",
  };
  console.log(`${verdicts[result.verdict]}; ${made} (${outcomes.join(", ") || "no outcome"})`);
}

function tellMoment(result: ReconnectResult): void {
  const local = formatAddress(result.local!);
  const rate = `${count(result.attemptsPerSecond)} attempts per second`;
  const after = `${attemptsText(result.attempts)} in ${duration(result.elapsedMs)} (${rate})`;
  console.log(`${styled("bold", "joined to itself")} after ${after}\n`);
  console.log(`  local ${local}  getsockname(2)`);
  console.log(`  peer  ${formatAddress(result.socket!.getpeername())}  getpeername(2)\n`);
  for (const text of netstatLines(result.local!)) console.log(`  ${text}`);
}

async function tellHarm(socket: TcpSocket, local: Address, flags: Flags, signal: AbortSignal): Promise<void> {
  const name = formatAddress(local);
  const refusal = listenRefusal(local);
  const read = new TextDecoder().decode(await echo(socket, new TextEncoder().encode(SECRET)));
  console.log("\nthe harm while it lives");
  console.log(`  a server's listen on ${name}: ${refusal ?? "starts (unexpected)"}`);
  console.log(`  wrote "${SECRET}", read "${read}"`);
  if (flags.hold) await hold(local, signal);
  socket.reset();
  console.log("after reset()");
  console.log(`  a server's listen on ${name}: ${listenRefusal(local) ?? "starts at once"}`);
}

/** Sends bytes and gives back what the same socket then receives. */
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

/** Keeps the socket until Ctrl-C. What it says is for a person, and stdout may be an object: so it is on stderr. */
async function hold(local: Address, signal: AbortSignal): Promise<void> {
  console.error(`\nheld by pid ${process.pid} until Ctrl-C; in another terminal:`);
  console.error(`  ss -tanp 'sport = :${local.port}'`);
  console.error(`  netstat -tanp | grep ${local.port}\n`);
  const day = 86_400_000;
  while (!signal.aborted) await sleep(day, undefined, { signal }).catch(() => undefined);
}

function netstatLines(local: Address): string[] {
  try {
    return [
      NETSTAT_HEADER,
      ...findFourTuple(local, local).map((row) => netstatText(row, socketOwner(row.inode))),
    ];
  } catch (error) {
    return [`(no row: ${(error as Error).message})`]; // No /proc/net/tcp: another kernel than Linux.
  }
}

function listenerText(peer: Address): string {
  const text = `something listens on ${formatAddress(peer)}`;
  try {
    const row = socketTable().find((one) => one.state === "LISTEN" && one.local.port === peer.port);
    const owner = row ? socketOwner(row.inode) : null;
    return owner ? `${text} (pid ${owner.pid}, ${owner.command})` : text;
  } catch {
    return text; // The owner is an extra that only Linux tells.
  }
}

function attemptsText(attempts: number): string {
  return `${count(attempts)} attempt${attempts === 1 ? "" : "s"}`;
}

function exitCode(results: readonly ReconnectResult[]): number {
  if (results.some((result) => result.verdict === "interrupted")) return INTERRUPTED;
  return results.every((result) => result.verdict === "self-connect") ? 0 : 1;
}

/** The object of docs/schema/reconnect-1.json. */
export function report(results: readonly ReconnectResult[], never: Never | null) {
  const last = results.at(-1)!;
  const { family, host, port } = last.peer;
  const attempts = sum(results.map((result) => result.attempts));
  const elapsedMs = sum(results.map((result) => result.elapsedMs));
  const trials: Trial[] = results.map(({ verdict, attempts, elapsedMs }) => ({
    verdict,
    attempts,
    elapsedMs,
  }));
  return {
    schema: "selfconnect.reconnect/1",
    peer: { family, host, port },
    strategy: last.strategy,
    threads: last.threads,
    verdict: last.verdict,
    never,
    attempts,
    elapsedMs,
    attemptsPerSecond: elapsedMs > 0 ? (attempts * 1000) / elapsedMs : 0,
    outcomes: mergedOutcomes(results),
    local: last.local,
    trials,
    attemptsToSelfConnect: summarizeTrials(trials).attempts,
    environment: environment(),
  };
}

function mergedOutcomes(results: readonly ReconnectResult[]): Record<string, number> {
  const merged: Record<string, number> = {};
  for (const { outcomes } of results) {
    for (const [name, number] of Object.entries(outcomes)) merged[name] = (merged[name] ?? 0) + number;
  }
  return merged;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** The file of --ports: one port a line. It is made with the first ports, after all flags were found good. */
class PortFile implements Disposable {
  readonly #path: string;
  #fd: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  append(ports: Uint16Array): void {
    this.#fd ??= openSync(this.#path, "w");
    if (ports.length > 0) writeSync(this.#fd, `${ports.join("\n")}\n`);
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}
