/** selfconnect bench: compares attempts per second with the peers, in one run. */
import { fork } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import type { BenchBounds, BenchDriver, BenchReport, BenchRow, BenchScan } from "../report/index.ts";
import {
  applyBenchBounds,
  BENCH_TRIALS,
  benchCsv,
  benchHtml,
  benchMarkdown,
  benchText,
  checkBenchBounds,
  parseBenchBounds,
} from "../report/index.ts";
import { parseCount, parseDurationMs, parseList } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import type { HostFlags } from "./on-hosts.ts";
import { addHostOptions, runHereOrThere } from "./on-hosts.ts";
import { interruption, LiveLine, textOptions } from "./output.ts";
import type { ResultFlags } from "./result-files.ts";
import { addBaselineOptions, addFileOptions, finishResult, readBaseline } from "./result-files.ts";

interface Flags extends HostFlags, ResultFlags {
  readonly rounds: number;
  readonly cell: number;
  readonly only: readonly string[];
  readonly driver: readonly BenchDriver[];
  readonly scan: BenchScan;
  readonly expect?: string;
  readonly long?: boolean;
}

/** What the runner sends: the texts of its rows, progress while it measures, then the report. */
type Message =
  | { readonly rows: readonly string[] }
  | { readonly progress: string }
  | { readonly report: BenchReport };

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

const MOST_THREADS = 64;

/** NAME=COMMAND. */
export function parseDriver(text: string, before: readonly BenchDriver[] = []): BenchDriver[] {
  const [, name, command] = /^\s*([^=]*?)\s*=\s*(\S.*)$/s.exec(text) ?? [];
  if (!name || !command) {
    throw new InvalidArgumentError(`"${text}" is no driver. Use a name and a command: mine="./mine --fast".`);
  }
  if (before.some((one) => one.name === name)) {
    throw new InvalidArgumentError(`There are two drivers "${name}". Give each a name of its own.`);
  }
  return [...before, { name, command }];
}

/** threads=1,2,4 or range=LOW-HIGH,LOW-HIGH. */
export function parseScan(text: string, before: BenchScan = NO_SCAN): BenchScan {
  const [, key, values = ""] = /^(threads|range)=(.+)$/.exec(text) ?? [];
  if (key === "threads")
    return { ...before, threads: [...before.threads, ...values.split(",").map(parseThreads)] };
  if (key === "range") return { ...before, ranges: [...before.ranges, ...values.split(",").map(parseRange)] };
  throw new InvalidArgumentError(`"${text}" is no scan. Use threads=1,2,4 or range=40000-40127,32768-60999.`);
}

function parseThreads(text: string): number {
  const threads = Number(text);
  if (/^\d+$/.test(text) && threads >= 1 && threads <= MOST_THREADS) return threads;
  throw new InvalidArgumentError(`"${text}" is no number of threads, 1 to ${MOST_THREADS}.`);
}

function parseRange(text: string): { low: number; high: number } {
  const [, low, high] = (/^(\d+)-(\d+)$/.exec(text) ?? []).map(Number);
  if (low! >= 1 && high! <= 65_535 && low! <= high!) return { low: low!, high: high! };
  throw new InvalidArgumentError(`"${text}" is no ephemeral range, LOW-HIGH within 1-65535.`);
}

const NO_SCAN: BenchScan = { threads: [], ranges: [] };

/** Cells that no trial of --only would run are a mistake. */
function checkTrials({ only, driver, scan }: Flags): void {
  const needed = [
    [driver.length > 0, "attempts", "--driver"],
    [scan.threads.length > 0, "attempts", "--scan threads"],
    [scan.ranges.length > 0, "time", "--scan range"],
  ] as const;
  for (const [isAsked, trial, option] of needed) {
    if (!isAsked || only.length === 0 || only.includes(trial)) continue;
    const why = `${option} adds to the trial ${trial}, which --only ${only.join(",")} leaves out`;
    throw Object.assign(new TypeError(why), { code: "ERR_INVALID_ARGUMENT" });
  }
}

export function benchCommand(): Command {
  const command = new Command("bench")
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
    .addOption(new Option("--driver <name=command>", DRIVER).argParser(parseDriver).default([], "none"))
    .addOption(new Option("--scan <values>", SCAN).argParser(parseScan).default(NO_SCAN, "none"))
    .option("--expect <file>", EXPECT)
    .option("--long", LONG)
    .option("--json", "print one object (docs/schema/bench-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (flags: Flags) => {
      process.exitCode = await runHereOrThere("bench", flags, () => runBench(flags));
    });
  return addHostOptions(addBaselineOptions(addFileOptions(command, FILES)), ["driver", "expect"]);
}

const FILES = {
  output: true,
  markdown: "also write the tables as Markdown",
  html: "also write the tables and a plot as one HTML page",
  csv: "also write the figure of each cell in each round as CSV",
} as const;

const LONG =
  "measure peak memory from 1 to 30 million attempts instead of 1 to 4, " +
  "and the guard with 5,000 to 15,000 ports in use too";

const DRIVER =
  "compare a program of your own in the trial attempts; it is run with a port of 127.0.0.1 and milliseconds as its " +
  'last arguments, attempts connects for that time, prints {"count":1000,"elapsedNs":300000000}; with 0 it makes ' +
  "none, which measures its start";
const SCAN =
  "more cells: threads=1,2,4 of the trial attempts, range=40000-40127,32768-60999 of the trial time";
const EXPECT =
  'take the bounds from a JSON file, {"a row": {"atLeast": 0.9}, "another": {"atMost": 5}}, and no others; ' +
  "exit with 3 when one is missed";

const EXAMPLES = `Examples:
  selfconnect bench                                    every row, about 6 minutes
  selfconnect bench --only attempts --rounds 6         only the rates
  selfconnect bench --only attempts,connects           two trials
  selfconnect bench --html bench.html --json           a page with a plot, and the data
  selfconnect bench --only attempts --driver mine=./mine --scan threads=1,2,4
  selfconnect bench --only stop --expect bounds.json   in CI, with bounds of your own
  selfconnect bench --only attempts --output before.json   for --baseline later
  selfconnect bench --only attempts --baseline before.json --fail-on worse=5%

Exits with 0 when every bound that could be measured was reached, with 1 when one was missed or rounds disagree.
With --expect: 3 when a bound of the file was missed, else 1 when a row of it has no figure.`;

async function runBench(flags: Flags): Promise<number> {
  if (!existsSync(RUNNER)) throw new Error("this copy of selfconnect was built without its benchmarks");
  checkTrials(flags);
  const bounds = flags.expect === undefined ? null : readBounds(flags.expect);
  const baseline = readBaseline("bench", flags);
  const measured = await runBenchmark(flags, bounds);
  if (measured === null) return EXIT.interrupted;
  const report = bounds ? applyBenchBounds(measured, bounds) : measured;
  const result = {
    report,
    text: () => benchText(report, textOptions()),
    markdown: () => benchMarkdown(report),
    html: () => benchHtml(report),
    csv: () => benchCsv(report),
  };
  const code = report.isInterrupted ? EXIT.interrupted : benchExitCode(report.rows, bounds);
  return finishResult(result, flags, baseline, code);
}

function readBounds(file: string): BenchBounds {
  return parseBenchBounds(file, readFileSync(file, "utf8"));
}

/** With bounds of one's own a row without a figure is a failure, because somebody asked for it. */
export function benchExitCode(rows: readonly BenchRow[], bounds: BenchBounds | null): number {
  const isMissed = rows.some(({ verdict }) => verdict === "missed");
  if (!bounds)
    return isMissed || rows.some(({ verdict }) => verdict === "disagree") ? EXIT.failed : EXIT.done;
  if (isMissed) return EXIT.found;
  const hasFigure = (what: string) => rows.some((row) => row.what === what && row.value !== null);
  return [...bounds.keys()].every(hasFigure) ? EXIT.done : EXIT.failed;
}

/**
 * On Ctrl-C the runner is interrupted too; it then sends a report of the rounds so far. Null where the signal ended it
 * before it had begun.
 */
async function runBenchmark(flags: Flags, bounds: BenchBounds | null): Promise<BenchReport | null> {
  const signal = interruption();
  using line = new LiveLine();
  const startedAt = performance.now();
  let doing = "starting";
  const show = () => line.show(`${doing} · ${Math.round((performance.now() - startedAt) / 1000)} s`);
  // One cell may take minutes, in which the runner sends nothing.
  const ticking = setInterval(show, 1000);
  const { rounds, cell: cellMs, only, driver: drivers, scan } = flags;
  const options = { rounds, cellMs, only, isLong: flags.long === true, drivers, scan };
  const runner = fork(RUNNER, [JSON.stringify(options)]);
  signal.addEventListener("abort", () => runner.kill("SIGINT"), { once: true });
  const report = new Promise<BenchReport | null>((resolve, reject) => {
    runner.on("message", (message: Message) => {
      if ("report" in message) resolve(message.report);
      else if ("rows" in message) checkRows(message.rows);
      else {
        doing = message.progress;
        show();
      }
    });
    runner.on("error", reject);
    runner.on("exit", (status) => {
      if (signal.aborted) resolve(null);
      else reject(new Error(`the benchmark ended without a report (${status})`));
    });

    /** Before anything is measured. */
    function checkRows(rows: readonly string[]): void {
      try {
        if (bounds) checkBenchBounds(flags.expect!, bounds, rows);
      } catch (error) {
        reject(error);
        runner.kill("SIGINT");
      }
    }
  });
  return report.finally(() => clearInterval(ticking));
}
