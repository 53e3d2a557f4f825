/** selfconnect audit: this host's listeners at risk, and its sockets joined to themselves. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command, Option } from "commander";
import type { Audit } from "../audit/index.ts";
import { audit, auditAllNamespaces } from "../audit/index.ts";
import { writeWhole } from "../audit/whole-file.ts";
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

interface Flags extends FleetFlags, HostFlags {
  readonly port?: readonly number[];
  readonly allNamespaces?: boolean;
  readonly watch?: number;
  readonly duration: number;
  readonly every?: number;
  readonly openmetrics?: string | true;
  readonly json?: boolean;
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
  for (const option of fleetOptions("1m", ["allNamespaces", "watch"])) command.addOption(option);
  return addHostOptions(command, ["watch", "duration", "openmetrics", "every", "queue"]);
}

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
  if (flags.watch === undefined) return exitCode([last.verdict]);
  const verdicts = [last.verdict];
  const endsAt = performance.now() + flags.duration;
  while (!signal.aborted && performance.now() + flags.watch <= endsAt) {
    await sleep(flags.watch, undefined, { signal }).catch(() => undefined); // Ctrl-C ends the wait.
    if (signal.aborted) break;
    const next = await auditOnce(flags);
    next.printChanges(last);
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
  print(): void;
  printChanges(last: Look): void;
}

async function auditOnce(flags: Flags): Promise<Look> {
  const options = flags.port ? { ports: flags.port } : {};
  const indent = flags.watch === undefined ? 2 : 0;
  if (flags.allNamespaces) {
    const host = await auditAllNamespaces(options);
    return withChanges(flags, host.verdict, [host.own, ...host.others], () => {
      if (flags.openmetrics) putMetrics(flags.openmetrics, hostAuditMetrics(host));
      else if (flags.json) printJson(hostAuditReport(host), indent);
      else print(hostAuditText(host, textOptions()));
    });
  }
  const found = await audit(options);
  return withChanges(flags, found.verdict, [found], () => {
    if (flags.openmetrics) putMetrics(flags.openmetrics, auditMetrics(found));
    else if (flags.json) printJson(auditReport(found), indent);
    else print(auditText(found, textOptions()));
  });
}

function withChanges(
  flags: Flags,
  verdict: Audit["verdict"],
  audits: readonly Audit[],
  printAll: () => void,
): Look {
  const printChanges = (last: Look) => {
    const changes = auditChangesText(last.audits, audits, new Date(), textOptions());
    if (changes === "") return;
    if (flags.json || flags.openmetrics) printAll();
    else print(changes);
  };
  return { verdict, audits, print: printAll, printChanges };
}
