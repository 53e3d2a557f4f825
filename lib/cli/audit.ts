/** selfconnect audit: this host's listeners at risk, and its sockets joined to themselves. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command, Option } from "commander";
import type { Audit } from "../audit/index.ts";
import { audit } from "../audit/index.ts";
import { auditChangesText, auditMetrics, auditReport, auditText } from "../report/index.ts";
import { parseDurationMs, parsePort } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import { interruption, print, printJson, textOptions } from "./output.ts";

interface Flags {
  readonly port?: number;
  readonly watch?: number;
  readonly duration: number;
  readonly openmetrics?: boolean;
  readonly json?: boolean;
}

export function auditCommand(): Command {
  return new Command("audit")
    .summary("this host: listeners at risk, and sockets joined to themselves")
    .description(
      "Reads this network namespace's sockets and settings. Reports which listeners may lose their port to a " +
        "client that reconnects while they are down, which sockets are joined to themselves, and what to change. " +
        "Connects nowhere. Exits 3 when something is at risk or joined to itself.",
    )
    .option(
      "--port <number>",
      "assess this port instead of the listeners, before choosing it for a server",
      parsePort,
    )
    .addOption(
      new Option("--watch <time>", "repeat after this time, and print what has changed").argParser(
        parseDurationMs,
      ),
    )
    .addOption(
      new Option("--duration <time>", "watch at most this long")
        .argParser(parseDurationMs)
        .default(3_600_000, "1h"),
    )
    .addOption(
      new Option("--openmetrics", "print metrics, for node_exporter's textfile collector").conflicts("json"),
    )
    .option("--json", "print one object (docs/schema/audit-1.json); with --watch one per line")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (flags: Flags) => {
      process.exitCode = await runAudit(flags);
    });
}

const EXAMPLES = `Examples:
  selfconnect audit                                    what is at risk here, and what to do
  selfconnect audit --port 50000                       is this port a good choice?
  selfconnect audit --watch 5s                         print what appears and what disappears
  selfconnect audit --openmetrics > selfconnect.prom   for node_exporter`;

async function runAudit(flags: Flags): Promise<number> {
  const signal = interruption();
  const options = flags.port === undefined ? {} : { port: flags.port };
  let last = audit(options);
  printAudit(last, flags);
  if (flags.watch === undefined) return last.isClean ? EXIT.done : EXIT.found;
  let wasClean = last.isClean;
  const endsAt = performance.now() + flags.duration;
  while (!signal.aborted && performance.now() + flags.watch <= endsAt) {
    await sleep(flags.watch, undefined, { signal }).catch(() => undefined); // Ctrl-C ends the wait.
    if (signal.aborted) break;
    const next = audit(options);
    printChanges(last, next, flags);
    wasClean &&= next.isClean;
    last = next;
  }
  if (signal.aborted) return EXIT.interrupted;
  return wasClean ? EXIT.done : EXIT.found;
}

function printAudit(found: Audit, flags: Flags): void {
  if (flags.openmetrics) process.stdout.write(auditMetrics(found));
  else if (flags.json) printJson(auditReport(found), flags.watch === undefined ? 2 : 0);
  else print(auditText(found, { ...textOptions(), port: flags.port }));
}

function printChanges(last: Audit, next: Audit, flags: Flags): void {
  const changes = auditChangesText(last, next, new Date(), textOptions());
  if (changes === "") return;
  if (flags.json || flags.openmetrics) printAudit(next, flags);
  else print(changes);
}
