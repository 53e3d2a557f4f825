/** selfconnect dial <peer>: one guarded connect, fit for a health check. */
import { Argument, Command, Option } from "commander";
import type { Address, Attempt, Dialed, Guard } from "../index.ts";
import { DialError, dial, formatAddress, listenRefusal, SocketError } from "../index.ts";
import { environment, isOwnAddress } from "../kernel/index.ts";
import { parseCount, parseDurationMs, parsePeer } from "./arguments.ts";
import { duration, interruption, styled } from "./output.ts";

interface Flags {
  readonly attempts: number;
  readonly deadline: number;
  readonly guard: Guard;
  readonly local?: Address;
  readonly listenCheck?: boolean;
  readonly json?: boolean;
}

type DialVerdict = "connected" | "self-connect" | "failed" | "interrupted";

/** What came of it, for both forms of output. */
interface Outcome {
  readonly verdict: DialVerdict;
  readonly local: Address | null;
  readonly peer: Address | null;
  readonly attempts: readonly Attempt[];
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly listenCheck: { readonly address: Address; readonly refusal: string | null } | null;
  readonly elapsedMs: number;
}

const EXIT_CODES: Readonly<Record<DialVerdict, number>> = {
  connected: 0,
  failed: 1,
  "self-connect": 3,
  interrupted: 130,
};

export function dialCommand(): Command {
  return new Command("dial")
    .summary("one guarded connect: the four-tuple, every attempt, the verdict")
    .description(
      "Connects once, guarded, and closes again: a health check that never takes a socket joined to itself for a " +
        "service that is up. Exits with 0 when connected, 1 when not, 3 when the guard rejected a self-connect.",
    )
    .addArgument(new Argument("<peer>", 'an address or a name with a port: "127.0.0.1:80", "localhost:80"'))
    .option("--attempts <count>", "at most this many, for each address of the peer", parseCount, 3)
    .addOption(
      new Option("--deadline <time>", "at most this long, all in all")
        .argParser(parseDurationMs)
        .default(5000, "5s"),
    )
    .addOption(
      new Option("--guard <how>", "prevent where the kernel can, or only detect")
        .choices(["prevent", "detect"])
        .default("prevent"),
    )
    .option("--local <address>", "bind to this address first", parsePeer)
    .option("--listen-check", "say also whether a server could listen on the peer's port now")
    .option("--json", "print one object (docs/schema/dial-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (peer: string, flags: Flags) => {
      const outcome = await outcomeOf(peer, flags, interruption());
      if (flags.json) console.log(JSON.stringify(report(peer, outcome), null, 2));
      else tell(peer, outcome);
      process.exitCode = EXIT_CODES[outcome.verdict];
    });
}

const EXAMPLES = `Examples:
  selfconnect dial localhost:8080                      is it up?
  selfconnect dial 127.0.0.1:50000 --listen-check      and if not: could it start?
  HEALTHCHECK CMD ["npx", "selfconnect", "dial", "127.0.0.1:50000", "--deadline", "2s"]`;

async function outcomeOf(peer: string, flags: Flags, signal: AbortSignal): Promise<Outcome> {
  const startedAt = performance.now();
  const ended = await dialed(peer, flags, signal);
  const elapsedMs = performance.now() - startedAt;
  if ("socket" in ended) ended.socket.close();
  const to = ended.attempts.at(-1)?.peer ?? null;
  return { ...ended, peer: to, listenCheck: flags.listenCheck ? listenCheck(to) : null, elapsedMs };
}

type Ended =
  | Pick<Outcome, "verdict" | "local" | "attempts" | "error">
  | (Pick<Outcome, "verdict" | "error"> & Dialed);

async function dialed(peer: string, flags: Flags, signal: AbortSignal): Promise<Ended> {
  const seen: Attempt[] = [];
  const { attempts, deadline: deadlineMs, guard, local } = flags;
  try {
    const onAttempt = (attempt: Attempt) => seen.push(attempt);
    const found = await dial(peer, {
      attempts,
      deadlineMs,
      guard,
      signal,
      onAttempt,
      ...(local && { local }),
    });
    return { ...found, verdict: "connected", error: null };
  } catch (error) {
    if (signal.aborted) return { verdict: "interrupted", local: null, attempts: seen, error: null };
    const { code = "", message } = error as NodeJS.ErrnoException;
    const isKernels = error instanceof SocketError || error instanceof DialError || code.startsWith("EAI_");
    if (!isKernels && code !== "ENOTFOUND") throw error;
    const verdict = code === "ERR_SELF_CONNECT" ? "self-connect" : "failed";
    const made = error instanceof DialError ? error.attempts : seen;
    return { verdict, local: made.at(-1)?.local ?? null, attempts: made, error: { code, message } };
  }
}

/** Whether a plain server, without SO_REUSEADDR, could listen there; null where the address is not of this host. */
function listenCheck(address: Address | null): Outcome["listenCheck"] {
  return address && isOwnAddress(address) ? { address, refusal: listenRefusal(address) } : null;
}

export function tell(peer: string, outcome: Outcome): void {
  const verdict = styled(outcome.verdict === "connected" ? "green" : "red", outcome.verdict);
  console.log(`${peer}: ${verdict} after ${duration(outcome.elapsedMs)}`);
  if (outcome.verdict === "connected") {
    console.log(`  local ${formatAddress(outcome.local!)}`);
    console.log(`  peer  ${formatAddress(outcome.peer!)}`);
  }
  if (outcome.error) console.log(`  ${outcome.error.message}`);
  outcome.attempts.forEach((attempt, i) => {
    console.log(`  attempt ${i + 1}: ${attemptText(attempt)}`);
  });
  if (outcome.listenCheck) console.log(`  ${listenText(outcome.listenCheck)}`);
}

function attemptText({ outcome, local, peer, elapsedMs }: Attempt): string {
  const from = local ? `${formatAddress(local)} -> ` : "";
  return `${from}${formatAddress(peer)} ${outcome}, ${duration(elapsedMs)}`;
}

function listenText({ address, refusal }: NonNullable<Outcome["listenCheck"]>): string {
  const could = refusal === null ? "could start now" : `could not start: ${refusal}`;
  return `a server on ${formatAddress(address)} ${could}`;
}

/** The object of docs/schema/dial-1.json. */
export function report(asked: string, outcome: Outcome) {
  const { verdict, local, peer, attempts, error, listenCheck, elapsedMs } = outcome;
  return {
    schema: "selfconnect.dial/1",
    asked,
    verdict,
    local,
    peer,
    attempts,
    error,
    listenCheck,
    elapsedMs,
    environment: environment(),
  };
}
