/** selfconnect bench: compares attempts per second with the peers, in one run. */
import { fork } from "node:child_process";
import { existsSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { writeWhole } from "../audit/whole-file.ts";
import type { BenchReport } from "../report/index.ts";
import { BENCH_TRIALS, benchCsv, benchHtml, benchMarkdown, benchText } from "../report/index.ts";
import { parseCount, parseDurationMs, parseList } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { interruption, LiveLine, print, printJson, textOptions } from "./output.ts";

interface Flags {
  readonly rounds: number;
  readonly cell: number;
  readonly only: readonly string[];
  readonly long?: boolean;
  readonly markdown?: string;
  readonly html?: string;
  readonly csv?: string;
  readonly json?: boolean;
}

/** What the runner sends: progress while it measures, then the report. */
type Message = { readonly progress: string } | { readonly report: BenchReport };

/** benchmarks/run.ts, in a separate process: printing must not share a thread with what is measured. */
const RUNNER = new URL("../benchmarks/run.js", import.meta.url).pathname;

const TRIALS = Object.keys(BENCH_TRIALS);

function parseTrials(text: string, before: readonly string[] = []): string[] {
  const trials = parseList(text);
  const wrong = trials.find((trial) => !TRIALS.includes(trial));
  if (trials.length > 0 && wrong === undefined) return [...before, ...trials];
  throw new InvalidArgumentError(
    `"${wrong ?? text}" is not a trial. Use ${TRIALS.join(",")}, or some of them.`,
  );
}

export function benchCommand(): Command {
  return new Command("bench")
    .description(
      "Measures attempts per second to a dead port on loopback, self-connects, and connects to a live listener. " +
        "Runs this package and every peer that is installed, one process per cell, in interleaved rounds. Compares " +
        "paired rounds and prints each ratio with its 95 % interval, or no ratio where the rounds disagree too " +
        "much. Also measures what the guard costs, and compares dial() with Go's dialer in network namespaces.",
    )
    .option("--rounds <count>", "how many rounds; below 6 the intervals hold less than 95 %", parseCount, 20)
    .addOption(
      new Option("--cell <time>", "how long each cell runs in a round")
        .argParser(parseDurationMs)
        .default(300, "300ms"),
    )
    .addOption(
      new Option("--only <trials>", `run only these trials: ${TRIALS.join(", ")}`)
        .argParser(parseTrials)
        .default([], "all"),
    )
    .option("--long", LONG)
    .option("--markdown <file>", "also write the tables as Markdown")
    .option("--html <file>", "also write the tables and a plot as one HTML page")
    .option("--csv <file>", "also write the figure of each cell in each round as CSV")
    .option("--json", "print one object (docs/schema/bench-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (flags: Flags) => {
      process.exitCode = await runBench(flags);
    });
}

const LONG =
  "measure peak memory from 1 to 30 million attempts instead of 1 to 4, " +
  "and the guard with 5,000 to 15,000 ports in use too";

const EXAMPLES = `Examples:
  selfconnect bench                                    every row, about 6 minutes
  selfconnect bench --only attempts --rounds 6         only the rates
  selfconnect bench --only attempts,connects           two trials
  selfconnect bench --html bench.html --json           a page with a plot, and the data

Exits with 0 when every bound that could be measured was reached, with 1 when one was missed or rounds disagree.`;

async function runBench(flags: Flags): Promise<number> {
  if (!existsSync(RUNNER)) throw new Error("this copy of selfconnect was built without its benchmarks");
  const report = await runBenchmark(flags);
  if (flags.json) printJson(report);
  else print(benchText(report, textOptions()));
  if (flags.markdown) writeWhole(flags.markdown, benchMarkdown(report));
  if (flags.html) writeWhole(flags.html, benchHtml(report));
  if (flags.csv) writeWhole(flags.csv, benchCsv(report));
  if (report.isInterrupted) return EXIT.interrupted;
  return report.rows.some(({ verdict }) => verdict === "missed" || verdict === "disagree")
    ? EXIT.failed
    : EXIT.done;
}

/** On Ctrl-C the runner is interrupted too; it then sends a report of the rounds so far. */
async function runBenchmark(flags: Flags): Promise<BenchReport> {
  const signal = interruption();
  using line = new LiveLine();
  const startedAt = performance.now();
  const options = { rounds: flags.rounds, cellMs: flags.cell, only: flags.only, isLong: flags.long === true };
  const runner = fork(RUNNER, [JSON.stringify(options)]);
  signal.addEventListener("abort", () => runner.kill("SIGINT"), { once: true });
  return new Promise((resolve, reject) => {
    runner.on("message", (message: Message) => {
      if ("report" in message) resolve(message.report);
      else line.show(`${message.progress} · ${Math.round((performance.now() - startedAt) / 1000)} s`);
    });
    runner.on("error", reject);
    runner.on("exit", (status) => reject(new Error(`the benchmark ended without a report (${status})`)));
  });
}
