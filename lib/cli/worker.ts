/** selfconnect worker: answers the questions of a queue about this host. */
import { Command, Option } from "commander";
import type { WorkerEvent } from "../fleet/index.ts";
import { runWorker } from "../fleet/index.ts";
import { parseDurationMs } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { queueOf } from "./fleet.ts";
import { interruption, printJson, printNotice } from "./output.ts";

interface Flags {
  readonly queue?: string;
  readonly name?: string;
  readonly stalled: number;
  readonly json?: boolean;
}

const STALLED_MS = 30_000;

export function workerCommand(): Command {
  return new Command("worker")
    .description(
      "Takes questions about this host from a queue in Redis, and answers them: those of `selfconnect lab --queue` and " +
        "`selfconnect audit --queue`, and no others. Needs the packages bullmq and ioredis. Runs until it is " +
        "interrupted; then it ends after the question that it is answering.",
    )
    .option(
      "--queue <url>",
      "where the queue is (default: the variable SELFCONNECT_QUEUE, which ps does not show)",
    )
    .option("--name <host>", "the name of this host in the results (default: its own)")
    .addOption(
      new Option("--stalled <time>", "take a question again whose worker gave no sign for this long")
        .argParser(parseDurationMs)
        .default(STALLED_MS, "30s"),
    )
    .option("--json", "print what happens as one object a line")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (flags: Flags) => {
      await runWorker({
        queue: queueOf(flags.queue),
        ...(flags.name !== undefined && { name: flags.name }),
        stalledMs: flags.stalled,
        report: (event) => printEvent(event, flags),
        signal: interruption(),
      });
      process.exitCode = EXIT.done;
    });
}

const EXAMPLES = `Examples:
  selfconnect worker --queue redis://10.0.0.1          this host takes questions
  selfconnect worker --queue env                       by the variable, for a URL with a password
  selfconnect worker --queue unix:///run/redis.sock --name web-1   by a socket of the file system`;

function printEvent(event: WorkerEvent, { json }: Flags): void {
  if (json) printJson(event, 0);
  else printNotice([`${event.kind}: ${event.text}`]);
}
