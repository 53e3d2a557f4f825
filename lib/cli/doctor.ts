/** selfconnect doctor: what of this package works on this host, and what to do about the rest. */
import { Command } from "commander";
import { diagnose } from "../audit/index.ts";
import { listMachines } from "../lab/index.ts";
import { doctorReport, doctorText } from "../report/index.ts";
import { EXIT } from "./exit-codes.ts";
import { print, printJson, textOptions } from "./output.ts";

export function doctorCommand(): Command {
  return new Command("doctor")
    .description(
      "Asks this host for everything that the commands use: the addon, features of the kernel, limits, namespaces, " +
        "capabilities, and the lab's programs. Prints what each lack costs, how to fix it, and what each command " +
        "needs. Changes nothing, and connects to 127.0.0.1 only. Exits with 3 when something is missing, and with 1 " +
        "when something could not be seen.",
    )
    .option("--json", "print one object (docs/schema/doctor-1.json)")
    .action(async ({ json }: { readonly json?: boolean }) => {
      const found = await diagnose(listMachines());
      if (json) printJson(doctorReport(found));
      else print(doctorText(found, textOptions()));
      process.exitCode = EXIT_CODES[found.verdict];
    });
}

const EXIT_CODES = { complete: EXIT.done, lacks: EXIT.found, unknown: EXIT.failed } as const;
