/** What --queue adds to the lab and to the audit: the same questions to every host that has a worker. */
import { Option } from "commander";
import type { FleetAudit } from "../fleet/index.ts";
import { auditFleet, hidePassword, runFleetLab, watchFleet } from "../fleet/index.ts";
import type { LabResult } from "../lab/index.ts";
import { fleetAuditMetrics, fleetAuditReport, fleetAuditText } from "../report/index.ts";
import { parseDurationMs, parseList } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { interruption, LiveLine, print, printJson, printNotice, textOptions } from "./output.ts";

/** The flags of both commands. */
export interface FleetFlags {
  readonly queue?: string;
  readonly hosts?: readonly string[];
  readonly deadline?: number;
}

/** Where the URL is that has a password, unless the command line has it. */
const VARIABLE = "SELFCONNECT_QUEUE";

/** The options of both commands. What a queue cannot do conflicts with --queue. */
export function fleetOptions(deadline: string, conflicts: readonly string[]): Option[] {
  return [
    new Option(
      "--queue <url>",
      `ask the hosts whose \`selfconnect worker\` has this queue; "env" takes the variable ${VARIABLE}`,
    ).conflicts([...conflicts]),
    new Option("--hosts <patterns>", 'with --queue: only these hosts, "web-*,db-1"').argParser(parseList),
    new Option(
      "--deadline <time>",
      `with --queue: wait this long for answers (default: ${deadline})`,
    ).argParser(parseDurationMs),
  ];
}

/** The URL of the queue, from the flag or the variable. */
export function queueOf(flag: string | undefined): string {
  const url = flag === undefined || flag === "env" ? process.env[VARIABLE] : flag;
  if (url) return url;
  throw Object.assign(new TypeError(`name the queue: --queue redis://host, or the variable ${VARIABLE}`), {
    code: "ERR_INVALID_QUEUE",
  });
}

/** Throws ERR_MISSING_QUEUE for an option that says nothing without --queue. */
export function checkWithoutQueue(flags: FleetFlags & { readonly every?: number }): void {
  const given = (["hosts", "deadline", "every"] as const).find((name) => flags[name] !== undefined);
  if (given === undefined) return;
  const message = `--${given} is for a fleet: add --queue redis://host`;
  throw Object.assign(new TypeError(message), { code: "ERR_MISSING_QUEUE" });
}

/** The command line of this process, without a password. */
export function commandText(): string {
  return hidePassword(["selfconnect", ...process.argv.slice(2)].join(" ")).slice(0, 400);
}

interface FleetLabRun extends FleetFlags {
  readonly experiments: readonly string[];
  readonly trials: number;
  readonly resume: LabResult | null;
  readonly save: (result: LabResult) => void;
  readonly signal: AbortSignal;
}

/** The lab of a fleet, with its progress. */
export async function runQueueLab(run: FleetLabRun): Promise<LabResult> {
  using line = new LiveLine();
  const { experiments, trials, resume, signal, save } = run;
  return await runFleetLab({
    ...sharedOptions(run, line),
    experiments,
    trials,
    resume,
    command: commandText(),
    signal,
    save: (result) => {
      save(result);
      line.show(fleetLine(result));
    },
  });
}

/** How far a lab of a fleet is, in one line. */
function fleetLine({ kernels, experiments, findings }: LabResult): string {
  const asked = kernels.filter(({ missing }) => missing === null).length;
  const unlike = findings.filter(({ isAsExpected }) => isAsExpected === false).length;
  const parts = [
    `${findings.length}/${asked * experiments.length} answers of ${asked} hosts`,
    kernels.length > asked && `${kernels.length - asked} cannot be asked`,
    unlike > 0 && `${unlike} not as expected`,
  ];
  return parts.filter(Boolean).join(", ");
}

interface AuditRun extends FleetFlags {
  readonly port?: readonly number[];
  readonly every?: number;
  readonly duration: number;
  /** A file for the metrics; true prints them. */
  readonly openmetrics?: string | true;
  readonly json?: boolean;
  readonly writeMetrics: (file: string, text: string) => void;
}

/** One audit of the fleet, or one every so often. Returns the exit code. */
export async function runQueueAudit(run: AuditRun): Promise<number> {
  const signal = interruption();
  using line = new LiveLine();
  const options = {
    ...sharedOptions(run, line),
    ...(run.port && { ports: run.port }),
    progress: (answered: number, asked: number) => line.show(`${answered}/${asked} hosts`),
    signal,
  };
  const verdicts: FleetAudit["verdict"][] = [];
  const show = (found: FleetAudit) => {
    line.clear();
    verdicts.push(found.verdict);
    printAudit(found, run);
  };
  if (run.every === undefined) show(await auditFleet(options));
  else await watchFleet({ ...options, everyMs: run.every, durationMs: run.duration }, show);
  if (signal.aborted) return EXIT.interrupted;
  if (verdicts.includes("found")) return EXIT.found;
  return verdicts.length === 0 || verdicts.includes("unknown") ? EXIT.failed : EXIT.done;
}

function printAudit(found: FleetAudit, { openmetrics, json, every, writeMetrics }: AuditRun): void {
  if (openmetrics === true) process.stdout.write(fleetAuditMetrics(found));
  else if (openmetrics !== undefined) writeMetrics(openmetrics, fleetAuditMetrics(found));
  else if (json) printJson(fleetAuditReport(found), every === undefined ? 2 : 0);
  else print(fleetAuditText(found, textOptions()));
}

function sharedOptions({ queue, hosts, deadline }: FleetFlags, line: LiveLine) {
  return {
    queue: queueOf(queue),
    ...(hosts && { hosts }),
    ...(deadline !== undefined && { deadlineMs: deadline }),
    onTrouble: (message: string) => {
      line.clear();
      printNotice([`the queue is away: ${message}`]);
    },
  };
}
