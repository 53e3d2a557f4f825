/** selfconnect who <port or address>: who holds a port, why, until when, and what to do. */
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import type { BindExplanation } from "../audit/index.ts";
import { explainBind, waitUntilFree } from "../audit/index.ts";
import type { Address } from "../index.ts";
import { whoReport, whoText } from "../report/index.ts";
import { parseDurationMs, parseTarget } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import type { HostFlags } from "./on-hosts.ts";
import { addHostOptions, runHereOrThere } from "./on-hosts.ts";
import { interruption, print, printJson, textOptions } from "./output.ts";

interface Flags extends HostFlags {
  readonly wait?: number | true;
  readonly allNamespaces?: boolean;
}

const DEFAULT_WAIT_MS = 30_000;

export function whoCommand(): Command {
  const command = new Command("who")
    .description(
      "Tries whether a server could start on a port or an address, and names every socket that holds the port: its " +
        "processes, why it is in the way, what to do. A port alone is what listen(port) of Node binds to. Binds a " +
        "socket for a moment, and does not listen. Exits with 0 when a server of Node could start, 3 when not.",
    )
    .addArgument(new Argument("<port>", 'a port or an address: "80", "127.0.0.1:80"').argParser(parseTarget))
    .addOption(
      new Option(
        "--wait [time]",
        "wait until a server could start, at most this long (default: 30s)",
      ).argParser(parseWait),
    )
    .option("--all-namespaces", "also list the port's holders in other network namespaces")
    .option("--json", "print one object (docs/schema/who-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (target: number | Address, flags: Flags) => {
      process.exitCode = await runHereOrThere("who", flags, () => runWho(target, flags));
    });
  return addHostOptions(command);
}

/** A port or an address after --wait is meant as what to look at. */
function parseWait(text: string): number {
  try {
    return parseDurationMs(text);
  } catch (error) {
    if (!/^:?\d+$|:\d+$/.test(text)) throw error;
    throw new InvalidArgumentError(`For a port, put it first: who ${text} --wait. A time has a unit: "30s".`);
  }
}

const EXAMPLES = `Examples:
  selfconnect who 50000                                my server cannot bind: who is in the way?
  selfconnect who 127.0.0.1:50000                      on this address only
  selfconnect who 50000 --wait && node server.js       start as soon as it can`;

async function runWho(target: number | Address, flags: Flags): Promise<number> {
  const signal = interruption();
  if (flags.wait !== undefined) {
    const deadlineMs = flags.wait === true ? DEFAULT_WAIT_MS : flags.wait;
    await waitUntilFree(target, { deadlineMs, signal });
  }
  const found = explainBind(target, { allNamespaces: flags.allNamespaces === true });
  printFound(found, flags);
  if (signal.aborted) return EXIT.interrupted;
  if (found.canListen) return EXIT.done;
  return found.tries[0]!.refusal === "EADDRINUSE" ? EXIT.found : EXIT.failed;
}

function printFound(found: BindExplanation, flags: Flags): void {
  if (flags.json) printJson(whoReport(found));
  else print(whoText(found, textOptions()));
}
