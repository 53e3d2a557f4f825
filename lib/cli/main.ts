/** selfconnect <command>: data on stdout, progress on stderr, exit codes of one table. */
import { Command, CommanderError } from "commander";
import { environment } from "../kernel/index.ts";
import { resolveNames } from "./arguments.ts";
import { auditCommand } from "./audit.ts";
import { benchCommand } from "./bench.ts";
import { dialCommand } from "./dial.ts";
import { EXIT, exitCodeHelp } from "./exit-codes.ts";
import { freeCommand } from "./free.ts";
import { labCommand } from "./lab.ts";
import { printNotice, watchOutput } from "./output.ts";
import { portsCommand } from "./ports.ts";
import { predictCommand } from "./predict.ts";
import { reconnectCommand } from "./reconnect.ts";
import { reportCommand } from "./report.ts";
import { reserveCommand } from "./reserve.ts";
import { runCommand } from "./run.ts";
import { traceCommand } from "./trace.ts";
import { whoCommand } from "./who.ts";

watchOutput();

const program = new Command("selfconnect")
  .description("Raw TCP socket control, and everything about the TCP self-connect built on it.")
  .version(environment().version)
  .showHelpAfterError("(add --help for the options and their defaults)")
  .addHelpText("after", `\n${exitCodeHelp()}`)
  .hook("preAction", (_program, command) => resolveNames(command))
  .enablePositionalOptions(); // The options after run's program are the program's.

const commands = [
  reconnectCommand(),
  dialCommand(),
  traceCommand(),
  benchCommand(),
  portsCommand(),
  predictCommand(),
  auditCommand(),
  whoCommand(),
  freeCommand(),
  reserveCommand(),
  labCommand(),
  reportCommand(),
  runCommand(),
];
for (const command of commands) program.addCommand(command.copyInheritedSettings(program).exitOverride());

try {
  await program.exitOverride().parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

/** Prints what went wrong in one line, without a stack trace. Returns the exit code. */
function exitCodeOf(error: unknown): number {
  // Commander has already printed its message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  const { message, code } = error as Error & { code?: string };
  printNotice([`selfconnect: ${message}`]);
  // The library throws a TypeError for a wrong argument; here that argument came from the user.
  const isMisuse = error instanceof TypeError || error instanceof RangeError;
  return isMisuse && code?.startsWith("ERR_") ? EXIT.usage : EXIT.failed;
}
