/** selfconnect reserve <port>: keeps the kernel from picking a port as a local one. */
import { Argument, Command } from "commander";
import { reserve } from "../audit/index.ts";
import { reserveReport, reserveText } from "../report/index.ts";
import { parsePort } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { print, printJson, textOptions } from "./output.ts";

interface Flags {
  readonly persist?: boolean;
  readonly undo?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function reserveCommand(): Command {
  return new Command("reserve")
    .description(
      "Adds a port to net.ipv4.ip_local_reserved_ports of this network namespace and keeps what is in the list: no " +
        "connect takes the port, and a server can still listen on it. Prints what that does to other ports. Needs " +
        "root. Exits with 3 when a listener is at risk that was not before, and with 1 when another file wins over " +
        "that of --persist.",
    )
    .addArgument(new Argument("<port>", "the port of a server").argParser(parsePort))
    .option("--persist", "also write /etc/sysctl.d/zz-selfconnect.conf, for the next boot")
    .option("--undo", "take the port out of the list instead")
    .option("--dry-run", "print what would change, and change nothing")
    .option("--json", "print one object (docs/schema/reserve-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action((port: number, { persist, undo, dryRun, json }: Flags) => {
      const made = reserve(port, { persist: persist === true, undo: undo === true, dryRun: dryRun === true });
      if (json) printJson(reserveReport(made));
      else print(reserveText(made, textOptions()));
      const isLasting = made.persistent?.isLasting ?? true;
      process.exitCode =
        made.effects.endangered.length > 0 ? EXIT.found : isLasting ? EXIT.done : EXIT.failed;
    });
}

const EXAMPLES = `Examples:
  selfconnect reserve 50000                            now, until the next boot
  selfconnect reserve 50000 --persist                  now and after every boot
  selfconnect reserve 50000 --persist --undo           take both back`;
