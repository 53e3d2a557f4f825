/** selfconnect audit: this host's listeners at risk, and its sockets joined to themselves. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command, Option } from "commander";
import type { Audit } from "../audit/index.ts";
import { audit, auditAllNamespaces } from "../audit/index.ts";
import { writeWhole } from "../audit/whole-file.ts";
import type { AuditReport } from "../report/index.ts";
import {
  auditChangesText,
  auditMetrics,
  auditReport,
  auditText,
  hostAuditMetrics,
  hostAuditReport,
  hostAuditText,
} from "../report/index.ts";
import { parseDurationMs, parsePorts } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import type { FleetFlags } from "./fleet.ts";
import { checkWithoutQueue, fleetOptions, runQueueAudit } from "./fleet.ts";
import type { HostFlags } from "./on-hosts.ts";
import { addHostOptions, runHereOrThere } from "./on-hosts.ts";
import { interruption, print, printJson, textOptions } from "./output.ts";
import type { ResultFlags } from "./result-files.ts";
import { addFileOptions, writeResultFiles } from "./result-files.ts";

interface Flags extends FleetFlags, HostFlags, ResultFlags {
  readonly port?: readonly number[];
  readonly allNamespaces?: boolean;
  readonly watch?: number;
  readonly duration: number;
  readonly every?: number;
  readonly openmetrics?: string | true;
}

export function auditCommand(): Command {
  const command = new Command("audit")
    .description(
      "Reads this network namespace's sockets and settings. Reports which listeners may lose their port to a " +
        "client that reconnects while they are down, which sockets are joined to themselves or were a moment ago, " +
        "which destinations run out of ports, and what to change. Connects nowhere. Exits 3 when something is at " +
        "risk, joined to itself or left behind, and 1 when that is unknown.",
    )
    .option(
      "--port <numbers>",
      "assess these ports instead of the listeners, before choosing one for a server",
      parsePorts,
    )
    .option("--all-namespaces", "audit every network namespace of this host, containers included (as root)")
    .addOption(
      new Option("--watch <time>", "repeat after this time, and print what has changed").argParser(
        parseDurationMs,
      ),
    )
    .addOption(
      new Option("--every <time>", "with --queue: audit the fleet again and again").argParser(
        parseDurationMs,
      ),
    )
    .addOption(
      new Option("--duration <time>", "watch, or repeat, at most this long")
        .argParser(parseDurationMs)
        .default(3_600_000, "1h"),
    )
    .addOption(
      new Option(
        "--openmetrics [file]",
        "print metrics, for node_exporter's textfile collector, or write them to this file",
      ).conflicts("json"),
    )
    .option("--json", "print one object (docs/schema/audit-1.json); with --watch one per line")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (flags: Flags) => {
      process.exitCode = await runHereOrThere("audit", flags, () => runAudit(flags));
    });
  for (const option of fleetOptions("1m", ["allNamespaces", "watch", "output", "markdown", "csv", "html"]))
    command.addOption(option);
  return addHostOptions(addFileOptions(command, FILES), [
    "watch",
    "duration",
    "openmetrics",
    "every",
    "queue",
  ]);
}

/** The latest audit of --watch is what the files have. */
const FILES = {
  output: "write the object of --json, for report",
  markdown: true,
  csv: true,
  html: "write the listeners and what is at risk as a page",
} as const;

const EXAMPLES = `Examples:
  selfconnect audit                                    what is at risk here, and what to do
  selfconnect audit --port 50000,50001                 is one of these ports a good choice?
  sudo selfconnect audit --all-namespaces              this host and its containers
  selfconnect audit --watch 5s                         print what appears and what disappears
  selfconnect audit --openmetrics selfconnect.prom     for node_exporter
  selfconnect audit --queue redis://10.0.0.1 --every 5m --openmetrics fleet.prom   every host that has a worker`;

async function runAudit(flags: Flags): Promise<number> {
  if (flags.queue !== undefined) return runQueueAudit({ ...flags, writeMetrics: writeWhole });
  checkWithoutQueue(flags);
  const signal = interruption();
  let last = await auditOnce(flags);
  last.print();
  writeResultFiles({ report: last.report }, flags);
  if (flags.watch === undefined) return exitCode([last.verdict]);
  const verdicts = [last.verdict];
  const endsAt = performance.now() + flags.duration;
  while (!signal.aborted && performance.now() + flags.watch <= endsAt) {
    await sleep(flags.watch, undefined, { signal }).catch(() => undefined); // Ctrl-C ends the wait.
    if (signal.aborted) break;
    const next = await auditOnce(flags);
    next.printChanges(last);
    writeResultFiles({ report: next.report }, flags);
    verdicts.push(next.verdict);
    last = next;
  }
  return signal.aborted ? EXIT.interrupted : exitCode(verdicts);
}

function putMetrics(file: string | true, text: string): void {
  if (file === true) process.stdout.write(text);
  else writeWhole(file, text);
}

/** What was found wins over what is unknown. */
function exitCode(verdicts: readonly Audit["verdict"][]): number {
  if (verdicts.includes("found")) return EXIT.found;
  return verdicts.includes("unknown") ? EXIT.failed : EXIT.done;
}

/** One audit, of this network namespace or of all, and how to print it. */
interface Look {
  readonly verdict: Audit["verdict"];
  readonly audits: readonly Audit[];
  readonly report: AuditReport;
  print(): void;
  printChanges(last: Look): void;
}

async function auditOnce(flags: Flags): Promise<Look> {
  const options = flags.port ? { ports: flags.port } : {};
  if (flags.allNamespaces) {
    const host = await auditAllNamespaces(options);
    return makeLook(flags, [host.own, ...host.others], hostAuditReport(host), {
      text: () => hostAuditText(host, textOptions()),
      metrics: () => hostAuditMetrics(host),
    });
  }
  const found = await audit(options);
  return makeLook(flags, [found], auditReport(found), {
    text: () => auditText(found, textOptions()),
    metrics: () => auditMetrics(found),
  });
}

function makeLook(
  flags: Flags,
  audits: readonly Audit[],
  report: AuditReport,
  write: { readonly text: () => string; readonly metrics: () => string },
): Look {
  const printAll = () => {
    if (flags.openmetrics) putMetrics(flags.openmetrics, write.metrics());
    else if (flags.json) printJson(report, flags.watch === undefined ? 2 : 0);
    else print(write.text());
  };
  const printChanges = (last: Look) => {
    const changes = auditChangesText(last.audits, audits, new Date(), textOptions());
    if (changes === "") return;
    if (flags.json || flags.openmetrics) printAll();
    else print(changes);
  };
  return { verdict: report.verdict, audits, report, print: printAll, printChanges };
}
