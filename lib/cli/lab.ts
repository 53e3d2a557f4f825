/** selfconnect lab: the same questions to many kernels. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { Command, Option } from "commander";
import { writeWhole } from "../audit/whole-file.ts";
import type { Expectation, Judgement, LabResult, Machine, SysctlAxis } from "../lab/index.ts";
import {
  cleanCache,
  DEFAULT_KERNELS,
  DEFAULT_MACHINES,
  defaultCacheFolder,
  expectationOf,
  experimentsOf,
  findExperiments,
  judge,
  KernelShelf,
  listMachines,
  makeMachines,
  parseSysctlAxis,
  readExpectation,
  runLab,
  spreadSysctls,
} from "../lab/index.ts";
import {
  judgementText,
  labCleanReport,
  labCleanText,
  labCsv,
  labHtml,
  labKernelsReport,
  labKernelsText,
  labListReport,
  labListText,
  labMarkdown,
  labText,
  parseLabResult,
} from "../report/index.ts";
import { parseCount, parseDurationMs, parseList } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import type { FleetFlags } from "./fleet.ts";
import { checkWithoutQueue, commandText, fleetOptions, runQueueLab } from "./fleet.ts";
import type { HostFlags } from "./on-hosts.ts";
import { addSshOptions, remoteOptionsOf } from "./on-hosts.ts";
import { interruption, LiveLine, print, printJson, printNotice, textOptions } from "./output.ts";
import { progressLines } from "./progress.ts";
import type { ResultFlags } from "./result-files.ts";
import { addBaselineOptions, addFileOptions, finishResult, readBaseline } from "./result-files.ts";

interface KernelFlags {
  readonly suites?: readonly string[];
  readonly mirror?: string;
  readonly cache: string;
  readonly json?: boolean;
}

interface CleanFlags extends Pick<KernelFlags, "cache" | "json"> {
  readonly dryRun?: boolean;
}

interface Flags
  extends KernelFlags,
    FleetFlags,
    Omit<ResultFlags, "json">,
    Pick<HostFlags, "sshConfig" | "remoteNode"> {
  readonly machine?: readonly string[];
  readonly kernels?: readonly string[];
  readonly experiments?: readonly string[];
  readonly all?: boolean;
  readonly list?: boolean;
  readonly sysctl?: readonly SysctlAxis[];
  readonly trials: number;
  readonly jobs?: number;
  readonly silence: number;
  readonly resume?: boolean;
  readonly expect?: string;
  readonly writeExpect?: string;
}

const MOST_TOTAL_MS = 900_000;
const MOST_OUTPUT_BYTES = 4_000_000;

export function labCommand(): Command {
  const command = new Command("lab")
    .description(
      "Asks the same questions of many kernels on this machine: its own, Debian's as User-mode Linux or under QEMU, " +
        "and gVisor; of other hosts, by ssh or with --queue those of a fleet. Fetches kernels with apt and caches them. " +
        "This package measures every answer inside the kernel.",
    )
    .option(
      "--machine <names>",
      `where kernels run: host, uml, gvisor, qemu, ssh:user@host (default: ${DEFAULT_MACHINES})`,
      parseList,
    )
    .option(
      "--kernels <names>",
      `for uml and qemu: versions, newest, or files (default: ${DEFAULT_KERNELS})`,
      parseList,
    )
    .option("--experiments <names>", "run only these experiments (default: all that are quick)", parseList)
    .option("--all", "run the slow experiments too")
    .option("--list", "print the experiments and the machines, and ask nothing")
    .option(
      "--sysctl <name=values>",
      "ask each kernel once with each of these values; may be repeated",
      (text: string, before: readonly SysctlAxis[] = []) => [...before, parseSysctlAxis(text)],
    )
    .option("--trials <count>", "how many trials of each random experiment", parseCount, 12)
    .option(
      "--jobs <count>",
      "how many kernels run side by side (default: one a core, and 16 by ssh)",
      parseCount,
    )
    .addOption(
      new Option("--silence <time>", "kill a guest after this long without output")
        .argParser(parseDurationMs)
        .default(90_000, "90s"),
    )
    .option("--output <file>", "write the results here after every cell (default: lab.json in the cache)")
    .option("--resume", "continue from the results in the --output file")
    .option("--write-expect <file>", "write the answers to this file, for --expect")
    .option(
      "--expect <file>",
      "ask what this file answers; exit with 0, 3 or 125, as git bisect run needs it",
    )
    .option("--json", "print one object (docs/schema/lab-1.json)")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (flags: Flags) => {
      process.exitCode = flags.list ? await listQuestions(flags) : await runLabCommand(flags);
    });
  for (const option of fleetOptions("15m", NOT_BY_QUEUE)) command.addOption(option);
  withShelf(addSshOptions(addBaselineOptions(addFileOptions(command, FILES))));
  const kernels = new Command("kernels")
    .summary("which kernels are available, and which are cached")
    .option("--json", "print one object (docs/schema/lab-kernels-1.json)")
    .addHelpText("after", `\n${KERNEL_EXAMPLES}`)
    .action((_: unknown, self: Command) => listKernels({ ...self.opts(), ...givenOptions(command, self) }));
  return command.addCommand(withShelf(kernels)).addCommand(cleanCommand(command));
}

const FILES = {
  html: "write the report as one HTML file",
  markdown: "write the table as Markdown",
  csv: "write the counts as CSV",
} as const;

function cleanCommand(lab: Command): Command {
  return new Command("clean")
    .summary("remove kernels and images from the cache, and print their size")
    .description(
      "Removes what the lab has fetched and built from its cache: kernels, the lists of apt, images. It fetches and " +
        "builds them again when they are needed. Leaves lab.json, the latest results.",
    )
    .addOption(cacheOption())
    .option("--dry-run", "print the sizes, and remove nothing")
    .option("--json", "print one object (docs/schema/lab-clean-1.json)")
    .addHelpText("after", `\n${CLEAN_EXAMPLES}`)
    .action((_: unknown, self: Command) => {
      const { cache, dryRun, json }: CleanFlags = { ...self.opts(), ...givenOptions(lab, self) };
      const cleaned = cleanCache({ cacheFolder: cache, dryRun: dryRun === true });
      if (json) printJson(labCleanReport(cleaned));
      else print(labCleanText(cleaned, textOptions()));
    });
}

/** What only makes sense for machines of this host. */
const NOT_BY_QUEUE = ["machine", "kernels", "sysctl", "jobs", "silence", "suites", "mirror"];

const EXAMPLES = `Examples:
  selfconnect lab --list                               the questions, and the machines
  selfconnect lab --machine host --experiments parity  one question to this kernel
  selfconnect lab --machine uml --kernels 6.1,6.12     two kernels, without root
  selfconnect lab --machine host,ssh:me@db1            this host beside another
  selfconnect lab --all --html lab.html                everything, as a page with plots
  selfconnect lab --queue redis://10.0.0.1 --hosts "web-*"   each host that has a worker
  selfconnect lab --kernels ./linux --expect expected.json   a step of git bisect run`;

const KERNEL_EXAMPLES = `Examples:
  selfconnect lab kernels                              what --kernels takes here
  selfconnect lab kernels --suites bookworm,trixie     of these suites only
  selfconnect lab kernels --json                       as an object`;

const CLEAN_EXAMPLES = `Examples:
  selfconnect lab clean --dry-run                      what it would remove, and its size
  selfconnect lab clean                                removes it
  selfconnect lab clean --json                         as an object`;

/** The options that were given before the subcommand's name, and not after it. */
function givenOptions(parent: Command, self: Command): Partial<KernelFlags & CleanFlags> {
  const names = Object.keys(self.opts()).filter(
    (name) => parent.getOptionValueSource(name) === "cli" && self.getOptionValueSource(name) !== "cli",
  );
  return Object.fromEntries(names.map((name) => [name, parent.getOptionValue(name)]));
}

function withShelf(command: Command): Command {
  return command
    .option("--suites <names>", "Debian suites to take kernels from", parseList)
    .option("--mirror <url>", "the Debian mirror (default: this host's apt mirror)")
    .addOption(cacheOption());
}

function cacheOption(): Option {
  return new Option("--cache <folder>", "where kernels and the guest's image are kept").default(
    defaultCacheFolder(),
    "~/.cache/selfconnect",
  );
}

async function listQuestions({ json }: Flags): Promise<number> {
  const report = labListReport(await findExperiments(), listMachines());
  if (json) printJson(report);
  else print(labListText(report, textOptions()));
  return EXIT.done;
}

async function runLabCommand(flags: Flags): Promise<number> {
  await findExperiments(flags.experiments); // Rejects a misspelt name before anything is fetched.
  const expectation = flags.expect === undefined ? null : readExpectation(flags.expect);
  const baseline = readBaseline("lab", flags);
  const signal = interruption();
  try {
    const result = await runFlags(flags, await chooseExperiments(flags, expectation), signal);
    if (flags.writeExpect)
      writeWhole(flags.writeExpect, `${JSON.stringify(expectationOf(result), null, 2)}\n`);
    const judgement = expectation && judge(result, expectation);
    const judged = judgement && (() => `\n${judgementText(judgement, textOptions())}`);
    const finished = {
      report: judgement ? { ...result, judgement } : result,
      text: () => `${labText(result, textOptions())}${judged?.() ?? ""}`,
      html: () => labHtml(result),
      markdown: () => labMarkdown(result),
      csv: () => labCsv(result),
    };
    const code = labExitCode(result, { isInterrupted: signal.aborted, isNamed: !!flags.kernels, judgement });
    const { output: _, ...others } = flags; // It has been written after every cell.
    return finishResult(finished, others, baseline, code);
  } catch (error) {
    if (!expectation || error instanceof TypeError) throw error;
    printNotice([(error as Error).message]);
    return EXIT.unasked; // To git bisect, 1 would mean that the kernel differs.
  }
}

/** Without a choice: what the expectation answers, or the experiments that are quick. */
async function chooseExperiments(
  { experiments, all }: Flags,
  expectation: Expectation | null,
): Promise<readonly string[]> {
  if (experiments) return experiments;
  const named = expectation && experimentsOf(expectation);
  const known = await findExperiments();
  const asked = known.filter(({ name, isSlow }) => (named ? named.includes(name) : all || !isSlow));
  return asked.map(({ name }) => name);
}

async function runFlags(
  flags: Flags,
  experiments: readonly string[],
  signal: AbortSignal,
): Promise<LabResult> {
  if (flags.output === undefined) mkdirSync(flags.cache, { recursive: true });
  const output = flags.output ?? path.join(flags.cache, "lab.json");
  const resume = flags.resume && existsSync(output) ? parseLabResult(readFileSync(output, "utf8")) : null;
  if (flags.queue !== undefined) return await runOnFleet(flags, experiments, { resume, output, signal });
  checkWithoutQueue(flags);
  using line = new LiveLine();
  const machines = await chooseMachines(flags, line);
  const titles = machines.map(({ title }) => title);
  const asking = new Map<string, string>();
  let latest: LabResult | null = null;
  const show = () => latest && line.show(...progressLines(titles, latest, asking));
  const result = await runLab({
    machines,
    experiments,
    trials: flags.trials,
    ...(flags.jobs !== undefined && { jobs: flags.jobs }),
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
      asking.set(kernel, experiment);
      show();
    },
  });
  writeWhole(output, `${JSON.stringify(result)}\n`);
  return result;
}

interface FleetRun {
  readonly resume: LabResult | null;
  readonly output: string;
  readonly signal: AbortSignal;
}

async function runOnFleet(
  flags: Flags,
  experiments: readonly string[],
  { resume, output, signal }: FleetRun,
): Promise<LabResult> {
  const save = (sofar: LabResult) => writeWhole(output, `${JSON.stringify(sofar)}\n`);
  const result = await runQueueLab({ ...flags, experiments, resume, save, signal });
  save(result);
  return result;
}

async function chooseMachines(flags: Flags, line: LiveLine): Promise<Machine[]> {
  const { machine, kernels, sysctl = [] } = flags;
  const choice = {
    ...(machine && { machines: machine }),
    ...(kernels && { kernels }),
    ...remoteOptionsOf(flags),
  };
  const machines = await makeMachines(choice, shelfOf(flags), (kernel) => line.show(`kernel ${kernel} …`));
  return spreadSysctls(machines, sysctl);
}

/** How a lab was run, as far as its exit code depends on it. */
interface LabEnd {
  readonly isInterrupted?: boolean;
  /** Whether the kernels were named: one that is missing is a failure then, as a host always is. */
  readonly isNamed?: boolean;
  readonly judgement?: Judgement | null;
}

/** With an expectation nothing else counts. Without one a missing machine is no failure, unless all are missing. */
export function labExitCode(result: LabResult, { isInterrupted, isNamed, judgement }: LabEnd = {}): number {
  if (isInterrupted) return EXIT.interrupted;
  if (judgement) return judgementExitCode(judgement);
  if (result.findings.some(({ isAsExpected }) => isAsExpected === false)) return EXIT.found;
  const isAnswered = result.findings.every(({ status }) => status === "answered" || status === "not-here");
  const missing = result.kernels.filter((kernel) => kernel.missing !== null);
  const isAsked = missing.length < result.kernels.length;
  const hasNamed = !isNamed || missing.every(({ machine }) => machine === "host" || machine === "gvisor");
  const hasHosts = missing.every(({ machine }) => machine !== "ssh");
  return isAnswered && isAsked && hasNamed && hasHosts ? EXIT.done : EXIT.failed;
}

function judgementExitCode({ asExpected, differs, unasked }: Judgement): number {
  if (differs.length > 0) return EXIT.found;
  return asExpected > 0 && unasked.length === 0 ? EXIT.done : EXIT.unasked;
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
