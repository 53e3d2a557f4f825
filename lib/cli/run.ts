/** selfconnect run -- <program>: starts a program under the guard, when its port is free, and ends as it ends. */
import { spawn } from "node:child_process";
import os from "node:os";
import { Command, Option } from "commander";
import { explainBind, waitUntilFree } from "../audit/index.ts";
import type { Address } from "../index.ts";
import { guardedEnvironment } from "../index.ts";
import { whoText } from "../report/index.ts";
import { parseDurationMs, parseTargets } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { interruption, printNotice, textOptions } from "./output.ts";

interface Flags {
  readonly guard: string;
  readonly log?: boolean;
  readonly whenFree?: readonly (number | Address)[];
  readonly wait: number;
}

/** Longer than a TIME-WAIT, which lasts a minute. */
const DEFAULT_WAIT_MS = 120_000;

/** As shells and env(1): the program is not there, or cannot be executed. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** What a supervisor sends to end a program or to have it do something. SIGKILL and SIGSTOP cannot be passed on. */
const PASSED: readonly NodeJS.Signals[] = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH"];
/** A terminal sends these to the program too: passed on, they would arrive twice. */
const FROM_TERMINALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];

export function runCommand(): Command {
  return new Command("run")
    .description(
      "Starts a program with selfconnect/register in NODE_OPTIONS, by its absolute path: every Node process that it " +
        "starts, in any folder, is guarded, and its workers. Passes signals on, and exits as the program does: with " +
        `its code, or by its signal; with ${NOT_FOUND} when it is not found. With --when-free it first waits until a ` +
        `server could start on each port, and exits with ${EXIT.found} when it could not in time.`,
    )
    .argument("<program...>", "the program and its arguments, after --")
    .addOption(
      new Option("--guard <how>", "what the guard does: SELFCONNECT_GUARD")
        .choices(["prevent", "detect", "off", "strict"])
        .default("prevent"),
    )
    .option("--log", "print a line to stderr for each process that starts guarded: SELFCONNECT_LOG")
    .addOption(
      new Option(
        "--when-free <ports>",
        'start when servers could start on all of these ports or addresses: "80", "127.0.0.1:80,443"',
      ).argParser(parseTargets),
    )
    .addOption(
      new Option("--wait <time>", "with --when-free: wait at most this long")
        .argParser(parseDurationMs)
        .default(DEFAULT_WAIT_MS, "2m"),
    )
    .addHelpText("after", `\n${EXAMPLES}`)
    .passThroughOptions()
    .action(async (program: [string, ...string[]], flags: Flags) => {
      if (flags.whenFree === undefined || (await waitForPorts(flags.whenFree, flags.wait)))
        await run(program, flags);
    });
}

const EXAMPLES = `Examples:
  selfconnect run -- node app.js                       every Node process of it is guarded
  selfconnect run --log -- npm start                   prints a line for each
  selfconnect run --when-free 8080 -- node server.js   as soon as nobody is in the way; "8080,8443" for both
  CMD ["/app/node_modules/.bin/selfconnect", "run", "--guard", "strict", "--", "node", "app.js"]`;

/** Prints what holds the ports, and waits. False when some port was not free in time, or at Ctrl-C. */
async function waitForPorts(targets: readonly (number | Address)[], deadlineMs: number): Promise<boolean> {
  const signal = interruption();
  const endsAt = performance.now() + deadlineMs;
  const findHeld = () => targets.map((target) => explainBind(target)).filter(({ canListen }) => !canListen);
  let held = findHeld();
  if (held.length > 0) printNotice([`selfconnect: waiting, at most ${deadlineMs / 1000} s`]);
  // To stderr: stdout belongs to the program.
  for (const found of held) console.error(whoText(found, textOptions(process.stderr)));
  // While one port is waited for, another one may be taken.
  for (; held.length > 0 && !signal.aborted; held = findHeld()) {
    const leftMs = Math.max(0, endsAt - performance.now());
    if (await waitUntilFree(held[0]!.address, { deadlineMs: leftMs, signal })) continue;
    if (!signal.aborted) printNotice([`selfconnect: not free after ${deadlineMs / 1000} s`]);
    process.exitCode = EXIT.found;
    break;
  }
  if (signal.aborted) process.exitCode = EXIT.interrupted;
  return held.length === 0 && !signal.aborted;
}

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
