/** selfconnect run -- <program>: starts a program under the guard, and ends as it ends. */
import { spawn } from "node:child_process";
import os from "node:os";
import { Command, Option } from "commander";
import { guardedEnvironment } from "../index.ts";
import { printNotice } from "./output.ts";

interface Flags {
  readonly guard: string;
  readonly log?: boolean;
}

/** As shells and env(1): the program is not there, or cannot be executed. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** What a supervisor sends to end a program or to have it do something. SIGKILL and SIGSTOP cannot be passed on. */
const PASSED: readonly NodeJS.Signals[] = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH"];
/** A terminal sends these to the program too: passed on, they would arrive twice. */
const FROM_TERMINALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];

export function runCommand(): Command {
  return new Command("run")
    .summary("start a Node program under the guard")
    .description(
      "Starts a program with selfconnect/register in NODE_OPTIONS, by its absolute path: every Node process that it " +
        "starts, in any folder, is guarded, and its workers. Passes signals on, and exits as the program does: with " +
        `its code, or by its signal; with ${NOT_FOUND} when it is not found.`,
    )
    .argument("<program...>", "the program and its arguments, after --")
    .addOption(
      new Option("--guard <how>", "what the guard does: SELFCONNECT_GUARD")
        .choices(["prevent", "detect", "off", "strict"])
        .default("prevent"),
    )
    .option("--log", "print a line to stderr for each process that starts guarded: SELFCONNECT_LOG")
    .addHelpText("after", `\n${EXAMPLES}`)
    .passThroughOptions()
    .action(run);
}

const EXAMPLES = `Examples:
  selfconnect run -- node app.js
  selfconnect run --log -- npm start
  CMD ["npx", "selfconnect", "run", "--guard", "strict", "--", "node", "app.js"]`;

function run([file, ...args]: [string, ...string[]], { guard, log }: Flags): Promise<void> {
  const settings = { SELFCONNECT_GUARD: guard, ...(log && { SELFCONNECT_LOG: "1" }) };
  const env = guardedEnvironment({ ...process.env, ...settings });
  const child = spawn(file, args, { stdio: "inherit", env });
  for (const signal of PASSED) process.on(signal, () => child.kill(signal));
  for (const signal of FROM_TERMINALS)
    process.on(signal, () => {
      if (!process.stdin.isTTY) child.kill(signal);
    });
  return new Promise((resolve) => {
    child.on("error", (error: NodeJS.ErrnoException) => {
      printNotice([`selfconnect: ${file}: ${error.message}`]);
      process.exitCode = error.code === "ENOENT" ? NOT_FOUND : NOT_EXECUTABLE;
      resolve();
    });
    child.on("exit", (code, signal) => {
      if (signal) endBy(signal);
      process.exitCode = code ?? 128 + os.constants.signals[signal!];
      resolve();
    });
  });
}

/** Ends this process by the same signal, so that whoever waits for it sees what ended the program. */
function endBy(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
