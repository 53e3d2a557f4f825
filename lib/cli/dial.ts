/** selfconnect dial <peer>: one guarded connect, fit for a health check. */
import { Argument, Command, Option } from "commander";
import { explainBind } from "../audit/index.ts";
import type { Address, Attempt, Dialed, DialOptions, ErrnoName, Guard } from "../index.ts";
import { DialError, dial, formatAddress, SocketError } from "../index.ts";
import { isOwnAddress } from "../kernel/index.ts";
import type { DialOutcome } from "../report/index.ts";
import { dialReport, dialText } from "../report/index.ts";
import { PEER_FORMS, parseCount, parseDurationMs } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { interruption, LiveLine, print, printJson, textOptions } from "./output.ts";

interface Flags {
  readonly attempts: number;
  readonly deadline: number;
  readonly guard: Guard;
  readonly wait?: number | true;
  readonly local?: string;
  readonly listenCheck?: boolean;
  readonly json?: boolean;
}

const DEFAULT_WAIT_MS = 30_000;
/** After these a service that starts may be there a moment later: its host and its name come up as well. */
const NOT_YET: readonly ErrnoName[] = [
  "ECONNREFUSED",
  "ECONNRESET",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
];
const WAITS = { kind: "exponential", firstMs: 100, mostMs: 1000, jitter: 0.5 } as const;
/** The report has so many attempts from each end. */
const KEPT_ATTEMPTS = 10;

const EXIT_CODES: Readonly<Record<DialOutcome["verdict"], number>> = {
  connected: EXIT.done,
  failed: EXIT.failed,
  "self-connect": EXIT.found,
  interrupted: EXIT.interrupted,
};

export function dialCommand(): Command {
  return new Command("dial")
    .description(
      "Connects once, guarded, and closes: a health check that never mistakes a socket joined to itself for a " +
        "running service. Exits with 0 when connected, 1 when not, 3 when the guard rejected a self-connect. With " +
        "--wait tries again until a service accepts, which also waits for its name and its host.",
    )
    .addArgument(new Argument("<peer>", PEER_FORMS))
    .option("--attempts <count>", "at most this many, for each address of the peer", parseCount, 3)
    .addOption(
      new Option("--deadline <time>", "at most this long in total")
        .argParser(parseDurationMs)
        .default(5000, "5s"),
    )
    .addOption(
      new Option("--guard <how>", "prevent a self-connect where the kernel can, or only detect it")
        .choices(["prevent", "detect"])
        .default("prevent"),
    )
    .addOption(
      new Option("--wait [time]", "wait until a service accepts, at most this long (default: 30s)")
        .argParser(parseDurationMs)
        .conflicts(["attempts", "deadline"]),
    )
    .option("--local <address>", 'bind to this address first: "10.0.0.1", or with a port')
    .option(
      "--listen-check",
      "also report whether a server could listen on the peer's port now, and who is in the way",
    )
    .option("--json", "print one object (docs/schema/dial-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (peer: string, flags: Flags) => {
      const outcome = await runDial(peer, flags, interruption());
      if (flags.json) printJson(dialReport(peer, outcome));
      else print(dialText(peer, outcome, textOptions()));
      process.exitCode = EXIT_CODES[outcome.verdict];
    });
}

const EXAMPLES = `Examples:
  selfconnect dial localhost:8080                      is it up?
  selfconnect dial db:5432 --wait 1m && npm start      wait for it
  selfconnect dial 127.0.0.1:50000 --listen-check      and if not: could it start?
  HEALTHCHECK CMD ["/app/node_modules/.bin/selfconnect", "dial", "127.0.0.1:50000", "--deadline", "2s"]`;

async function runDial(peer: string, flags: Flags, signal: AbortSignal): Promise<DialOutcome> {
  const startedAt = performance.now();
  const ended = await dialOnce(peer, flags, signal);
  const elapsedMs = performance.now() - startedAt;
  if ("socket" in ended) ended.socket.close();
  const to = ended.attempts.at(-1)?.peer ?? null;
  return { ...ended, peer: to, listenCheck: flags.listenCheck ? checkListen(to) : null, elapsedMs };
}

type Ended =
  | Pick<DialOutcome, "verdict" | "local" | "attempts" | "attemptCount" | "error">
  | (Pick<DialOutcome, "verdict" | "error"> & Dialed);

async function dialOnce(peer: string, flags: Flags, signal: AbortSignal): Promise<Ended> {
  const seen: Attempt[] = [];
  using progress = new LiveLine();
  const onAttempt = (attempt: Attempt) => {
    seen.push(attempt);
    if (flags.wait)
      progress.show(`attempt ${seen.length} at ${formatAddress(attempt.peer)}: ${attempt.outcome}`);
  };
  try {
    const found = await dial(peer, { ...dialOptions(flags), signal, onAttempt });
    return { ...found, verdict: "connected", error: null };
  } catch (error) {
    const made = {
      attempts: seen.length > 2 * KEPT_ATTEMPTS ? keepEnds(seen) : seen,
      attemptCount: seen.length,
      local: seen.at(-1)?.local ?? null,
    };
    if (signal.aborted) return { ...made, verdict: "interrupted", local: null, error: null };
    const { code = "", message } = error as NodeJS.ErrnoException;
    const isKernels = error instanceof SocketError || error instanceof DialError || code.startsWith("EAI_");
    if (!isKernels && code !== "ENOTFOUND") throw error;
    return {
      ...made,
      verdict: code === "ERR_SELF_CONNECT" ? "self-connect" : "failed",
      error: { code, message },
    };
  }
}

function dialOptions({ attempts, deadline, wait, guard, local }: Flags): DialOptions {
  const limits = wait
    ? {
        attempts: Number.MAX_SAFE_INTEGER,
        retryOn: NOT_YET,
        backoff: WAITS,
        deadlineMs: wait === true ? DEFAULT_WAIT_MS : wait,
      }
    : { attempts, deadlineMs: deadline };
  return { ...limits, guard, ...(local !== undefined && { local }) };
}

function keepEnds(attempts: readonly Attempt[]): readonly Attempt[] {
  return [...attempts.slice(0, KEPT_ATTEMPTS), ...attempts.slice(-KEPT_ATTEMPTS)];
}

/** Whether a server could listen on the address; null for an address of another host. */
function checkListen(address: Address | null): DialOutcome["listenCheck"] {
  if (!address || !isOwnAddress(address)) return null;
  const { tries, holders, waitMs } = explainBind(address);
  const { refusal, needs, because } = tries[0]!;
  const inTheWay = holders
    .filter(({ isInTheWay }) => isInTheWay)
    .map(({ local, is, remedy }) => ({ local, is, remedy }));
  return { address, refusal, needs, because, waitMs, inTheWay };
}
