/** selfconnect free <port or address>: frees a port that a socket joined to itself holds in another process. */
import { Argument, Command, Option } from "commander";
import { explainBind, free } from "../audit/index.ts";
import type { Address } from "../index.ts";
import { freeReport, freeText, whoText } from "../report/index.ts";
import { parseTarget } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { print, printJson, printNotice, textOptions } from "./output.ts";

interface Flags {
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function freeCommand(): Command {
  return new Command("free")
    .description(
      "Ends the connection of every socket that is joined to itself on a port or an address, in whichever process; " +
        "the process goes on and sees ECONNABORTED or ECONNRESET. Needs CAP_NET_ADMIN, or permission to trace the " +
        "process. Never ends any other socket. Exits with 0 when the port is free, 1 when not, when no socket is " +
        "joined to itself there, and with --all when some network namespace is not visible.",
    )
    .addArgument(
      new Argument("[port]", 'a port or an address: "50000", "127.0.0.1:50000"').argParser(parseTarget),
    )
    .addOption(new Option("--all", "every socket joined to itself, in all network namespaces"))
    .option("--dry-run", "print what would be ended, and change nothing")
    .option("--json", "print one object (docs/schema/free-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (target: number | Address | undefined, flags: Flags, command: Command) => {
      if ((target === undefined) !== (flags.all === true)) command.error("error: name a port, or --all");
      process.exitCode = await runFree(target ?? "all", flags);
    });
}

const EXAMPLES = `Examples:
  selfconnect free 50000                               after \`selfconnect who 50000\` has said so
  selfconnect free 127.0.0.1:50000 --json              on this address only, as an object
  selfconnect free --all --dry-run                     what is joined to itself on this host?`;

async function runFree(target: number | Address | "all", flags: Flags): Promise<number> {
  const isAll = target === "all";
  const result = await free(target, { dryRun: flags.dryRun === true, allNamespaces: isAll });
  if (flags.json) printJson(freeReport(result));
  else print(freeText(result, textOptions()));
  const { sockets, unseen } = result;
  if (sockets.length === 0 && !isAll) {
    printNotice(whoText(explainBind(target)).split("\n"));
    return EXIT.failed;
  }
  const isDone = flags.dryRun || sockets.every(({ isFree }) => isFree);
  return isDone && unseen.length === 0 ? EXIT.done : EXIT.failed;
}
