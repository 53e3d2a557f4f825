/** selfconnect lab: the same questions to many kernels. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { Command, Option } from "commander";
import type { LabResult } from "../lab/index.ts";
import { defaultCacheFolder, findExperiments, KernelShelf, makeMachines, runLab } from "../lab/index.ts";
import { labKernelsReport, labKernelsText, labText, parseLabResult } from "../report/index.ts";
import { parseCount, parseDurationMs } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { writeWhole } from "./files.ts";
import { interruption, LiveLine, print, printJson, textOptions } from "./output.ts";
import type { Asking } from "./progress.ts";
import { progressLines } from "./progress.ts";
import { writeReports } from "./report.ts";

interface KernelFlags {
  readonly suites?: readonly string[];
  readonly mirror?: string;
  readonly cache: string;
  readonly json?: boolean;
}

interface Flags extends KernelFlags {
  readonly machine: readonly string[];
  readonly kernels: readonly string[];
  readonly experiments?: readonly string[];
  readonly trials: number;
  readonly silence: number;
  readonly output?: string;
  readonly resume?: boolean;
  readonly html?: string;
  readonly markdown?: string;
  readonly csv?: string;
}

const MOST_TOTAL_MS = 900_000;
const MOST_OUTPUT_BYTES = 4_000_000;

export function labCommand(): Command {
  const command = new Command("lab")
    .summary("the same experiments on many kernels")
    .description(
      "Asks the same questions of many kernels on this machine: its own, Debian's under QEMU, User-mode Linux and " +
        "gVisor. Fetches kernels with apt and caches them. This package measures every answer inside the kernel.",
    )
    .addOption(listOption("--machine <names>", "where kernels run", "host,qemu,uml,gvisor"))
    .addOption(
      listOption("--kernels <names>", "for qemu: versions, newest, or a vmlinuz", "5.10,6.1,6.12,newest"),
    )
    .option("--experiments <names>", "run only these experiments (default: all)", parseList)
    .option("--trials <count>", "how many trials of each random experiment", parseCount, 12)
    .addOption(
      new Option("--silence <time>", "kill a guest after this long without output")
        .argParser(parseDurationMs)
        .default(90_000, "90s"),
    )
    .option("--output <file>", "write the results here after every cell (default: lab.json in the cache)")
    .option("--resume", "continue from the results in the --output file")
    .option("--html <file>", "write the report as one HTML file")
    .option("--markdown <file>", "write the table as Markdown")
    .option("--csv <file>", "write the counts as CSV")
    .option("--json", "print one object (docs/schema/lab-1.json)")
    .action(async (flags: Flags) => {
      process.exitCode = await runLabCommand(flags);
    });
  withShelf(command);
  const kernels = new Command("kernels")
    .summary("which kernels are available, and which are cached")
    .option("--json", "print one object (docs/schema/lab-kernels-1.json)")
    .action((_: unknown, self: Command) => listKernels({ ...self.opts(), ...givenOptions(command, self) }));
  return command.addCommand(withShelf(kernels));
}

/** The options that were given before the subcommand's name, and not after it. */
function givenOptions(parent: Command, self: Command): Partial<KernelFlags> {
  const names = Object.keys(self.opts()).filter(
    (name) => parent.getOptionValueSource(name) === "cli" && self.getOptionValueSource(name) !== "cli",
  );
  return Object.fromEntries(names.map((name) => [name, parent.getOptionValue(name)]));
}

function withShelf(command: Command): Command {
  return command
    .option("--suites <names>", "Debian suites to take kernels from", parseList)
    .option("--mirror <url>", "the Debian mirror (default: this host's apt mirror)")
    .addOption(
      new Option("--cache <folder>", "where kernels and the guest's image are kept").default(
        defaultCacheFolder(),
        "~/.cache/selfconnect",
      ),
    );
}

function listOption(flags: string, description: string, names: string): Option {
  return new Option(flags, description).argParser(parseList).default(parseList(names), names);
}

async function runLabCommand(flags: Flags): Promise<number> {
  await findExperiments(flags.experiments); // Rejects a misspelt name before anything is fetched.
  const signal = interruption();
  if (flags.output === undefined) mkdirSync(flags.cache, { recursive: true });
  const output = flags.output ?? path.join(flags.cache, "lab.json");
  const resume = flags.resume && existsSync(output) ? parseLabResult(readFileSync(output, "utf8")) : null;
  using line = new LiveLine();
  const shelf = shelfOf(flags);
  const machines = await makeMachines(flags.machine, flags.kernels, shelf, (kernel) => {
    line.show(`kernel ${kernel} …`);
  });
  const titles = machines.map(({ title }) => title);
  let asking: Asking | null = null;
  let latest: LabResult | null = null;
  const show = () => latest && line.show(...progressLines(titles, latest, asking));
  const result = await runLab({
    machines,
    ...(flags.experiments && { experiments: flags.experiments }),
    trials: flags.trials,
    resume,
    limits: { silenceMs: flags.silence, totalMs: MOST_TOTAL_MS, outputBytes: MOST_OUTPUT_BYTES },
    command: commandText(),
    signal,
    save: (sofar) => {
      writeWhole(output, `${JSON.stringify(sofar)}\n`);
      latest = sofar;
      show();
    },
    begin: (kernel, experiment) => {
      asking = { kernel, experiment };
      show();
    },
  });
  writeWhole(output, `${JSON.stringify(result)}\n`);
  line.show();
  writeReports(result, flags);
  if (flags.json) printJson(result);
  else print(labText(result, textOptions()));
  return labExitCode(result, signal.aborted);
}

/** A missing machine is no failure, unless all are missing. */
export function labExitCode(result: LabResult, isInterrupted: boolean): number {
  if (isInterrupted) return EXIT.interrupted;
  if (result.findings.some(({ isAsExpected }) => isAsExpected === false)) return EXIT.found;
  const isAnswered = result.findings.every(({ status }) => status === "answered" || status === "not-here");
  const isAsked = result.kernels.some(({ missing }) => missing === null);
  return isAnswered && isAsked ? EXIT.done : EXIT.failed;
}

function listKernels(flags: KernelFlags): void {
  const shelf = shelfOf(flags);
  using line = new LiveLine();
  line.show(`asking ${shelf.suites.join(", ")} …`);
  const kernels = shelf.listOffered();
  line.show();
  const report = labKernelsReport(shelf.suites, kernels);
  if (flags.json) printJson(report);
  else print(labKernelsText(report, textOptions()));
}

function shelfOf({ cache, suites, mirror }: KernelFlags): KernelShelf {
  return new KernelShelf({ cacheFolder: cache, ...(suites && { suites }), ...(mirror && { mirror }) });
}

function commandText(): string {
  return ["selfconnect", ...process.argv.slice(2)].join(" ").slice(0, 400);
}

function parseList(text: string): string[] {
  return text.split(",").filter(Boolean);
}
