/** selfconnect dial <peer>: one guarded connect, fit for a health check. */
import { Argument, Command, Option } from "commander";
import { explainBind } from "../audit/index.ts";
import type { Address, Attempt, Dialed, Guard } from "../index.ts";
import { DialError, dial, SocketError } from "../index.ts";
import { isOwnAddress } from "../kernel/index.ts";
import type { DialOutcome } from "../report/index.ts";
import { dialReport, dialText } from "../report/index.ts";
import { parseCount, parseDurationMs, parsePeer } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { interruption, print, printJson, textOptions } from "./output.ts";

interface Flags {
  readonly attempts: number;
  readonly deadline: number;
  readonly guard: Guard;
  readonly local?: Address;
  readonly listenCheck?: boolean;
  readonly json?: boolean;
}

const EXIT_CODES: Readonly<Record<DialOutcome["verdict"], number>> = {
  connected: EXIT.done,
  failed: EXIT.failed,
  "self-connect": EXIT.found,
  interrupted: EXIT.interrupted,
};

export function dialCommand(): Command {
  return new Command("dial")
    .summary("one guarded connect: the four-tuple, every attempt, the verdict")
    .description(
      "Connects once, guarded, and closes: a health check that never mistakes a socket joined to itself for a " +
        "running service. Exits with 0 when connected, 1 when not, 3 when the guard rejected a self-connect.",
    )
    .addArgument(new Argument("<peer>", 'an address or a name with a port: "127.0.0.1:80", "localhost:80"'))
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
    .option("--local <address>", "bind to this address first", parsePeer)
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
  selfconnect dial 127.0.0.1:50000 --listen-check      and if not: could it start?
  HEALTHCHECK CMD ["npx", "selfconnect", "dial", "127.0.0.1:50000", "--deadline", "2s"]`;

async function runDial(peer: string, flags: Flags, signal: AbortSignal): Promise<DialOutcome> {
  const startedAt = performance.now();
  const ended = await dialOnce(peer, flags, signal);
  const elapsedMs = performance.now() - startedAt;
  if ("socket" in ended) ended.socket.close();
  const to = ended.attempts.at(-1)?.peer ?? null;
  return { ...ended, peer: to, listenCheck: flags.listenCheck ? checkListen(to) : null, elapsedMs };
}

type Ended =
  | Pick<DialOutcome, "verdict" | "local" | "attempts" | "error">
  | (Pick<DialOutcome, "verdict" | "error"> & Dialed);

async function dialOnce(peer: string, flags: Flags, signal: AbortSignal): Promise<Ended> {
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
    const attempts = error instanceof DialError ? error.attempts : seen;
    return { verdict, local: attempts.at(-1)?.local ?? null, attempts, error: { code, message } };
  }
}

/** Whether a server without SO_REUSEADDR could listen on the address; null for an address of another host. */
function checkListen(address: Address | null): DialOutcome["listenCheck"] {
  if (!address || !isOwnAddress(address)) return null;
  const { tries, holders } = explainBind(address);
  const inTheWay = holders
    .filter(({ isInTheWay }) => isInTheWay)
    .map(({ local, is, remedy }) => ({ local, is, remedy }));
  return { address, refusal: tries[0]!.refusal, inTheWay };
}
