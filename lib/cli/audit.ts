/** selfconnect audit: this host's listeners at risk, and its sockets joined to themselves. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command, Option } from "commander";
import type { Audit, JoinedSocket, Knocking, Owner, PortRisk } from "../audit/index.ts";
import { audit } from "../audit/index.ts";
import { formatAddress } from "../index.ts";
import { environment } from "../kernel/index.ts";
import { portAlgorithm } from "../ports/index.ts";
import { auditMetrics } from "../report/index.ts";
import { parseDurationMs, parsePort } from "./arguments.ts";
import { count, duration, INTERRUPTED, interruption, styled } from "./output.ts";

interface Flags {
  readonly port?: number;
  readonly watch?: number;
  readonly duration: number;
  readonly openmetrics?: boolean;
  readonly json?: boolean;
}

const FOUND = 3;
const LONGEST_CGROUP = 60;

export function auditCommand(): Command {
  return new Command("audit")
    .summary("this host: listeners at risk, and sockets joined to themselves")
    .description(
      "Reads this network namespace's sockets and settings. Tells which listeners may lose their port to a " +
        "client that reconnects while they are down, which sockets are joined to themselves, and what to change. " +
        "Connects nowhere. Exits 3 when something is at risk or joined to itself.",
    )
    .option("--port <number>", "a port that nothing listens on yet: would it be at risk?", parsePort)
    .addOption(
      new Option("--watch <time>", "look again each time, and print what has changed").argParser(
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
    .option("--json", "print one object (docs/schema/audit-1.json); with --watch one a line")
    .addHelpText("after", `\n${EXAMPLES}`)
    .action(async (flags: Flags) => {
      process.exitCode = await auditAndTell(flags);
    });
}

const EXAMPLES = `Examples:
  selfconnect audit                                    what is at risk here, and what to do
  selfconnect audit --port 50000                       is this port a good choice?
  selfconnect audit --watch 5s                         print what appears and what goes
  selfconnect audit --openmetrics > selfconnect.prom   for node_exporter`;

async function auditAndTell(flags: Flags): Promise<number> {
  const signal = interruption();
  const options = flags.port === undefined ? {} : { port: flags.port };
  let last = audit(options);
  print(last, flags);
  if (flags.watch === undefined) return last.isClean ? 0 : FOUND;
  let wasClean = last.isClean;
  const endsAt = performance.now() + flags.duration;
  while (!signal.aborted && performance.now() + flags.watch <= endsAt) {
    await sleep(flags.watch, undefined, { signal }).catch(() => undefined); // Ctrl-C: no more to wait for.
    if (signal.aborted) break;
    const next = audit(options);
    printChanges(last, next, flags);
    wasClean &&= next.isClean;
    last = next;
  }
  if (signal.aborted) return INTERRUPTED;
  return wasClean ? 0 : FOUND;
}

function print(found: Audit, flags: Flags): void {
  if (flags.openmetrics) process.stdout.write(auditMetrics(found));
  else if (flags.json) console.log(JSON.stringify(report(found), null, flags.watch === undefined ? 2 : 0));
  else tell(found, flags);
}

/** What has appeared, with a plus, and what has gone, with a minus. */
export function printChanges(last: Audit, next: Audit, flags: Flags): void {
  const [before, after] = [findings(last), findings(next)];
  const gone = [...before].filter(([key]) => !after.has(key));
  const come = [...after].filter(([key]) => !before.has(key));
  if (gone.length + come.length === 0) return;
  if (flags.json || flags.openmetrics) {
    print(next, flags);
    return;
  }
  const at = new Date().toISOString();
  for (const [, text] of gone) console.log(`${at} - ${text}`);
  for (const [, text] of come) console.log(`${at} + ${text}`);
}

/** Every finding under a name that stays while it does. */
function findings(found: Audit): Map<string, string> {
  // Not under its owner: a process that ends while we look leaves its socket for a moment without one.
  const of = (kind: string, { local }: { local: PortRisk["local"] }) => `${kind} ${formatAddress(local)}`;
  return new Map([
    ...found.listeners.map((one): [string, string] => [of("listener", one), listenerText(one)]),
    ...found.joined.map((one): [string, string] => [of("joined", one), joinedText(one)]),
    ...found.leftovers.map((one): [string, string] => [of("leftover", one), joinedText(one)]),
    ...found.knocking.map((one): [string, string] => [
      `${of("knocking", one)} ${formatAddress(one.peer)}`,
      knockingText(one),
    ]),
  ]);
}

export function tell(found: Audit, flags: Flags): void {
  const range = found.ephemeralRange;
  const reserved = found.reservedPorts.map(({ low, high }) => (low === high ? `${low}` : `${low}-${high}`));
  const isOfParity = portAlgorithm(found.algorithm).parity === "low";
  const parity = isOfParity
    ? `: connect(2) picks ${(range?.low ?? 0) % 2 === 0 ? "even" : "odd"} ports first`
    : "";
  console.log(`ephemeral range ${range ? `${range.low}-${range.high}${parity}` : "not told by this host"}`);
  console.log(`reserved ports: ${reserved.join(",") || "none"}`);
  const title = flags.port === undefined ? "listeners inside the range" : `port ${flags.port}`;
  tellList(title, found.listeners.map(listenerText));
  tellList("joined to themselves now", found.joined.map(joinedText));
  tellList("left behind by self-connects (TIME-WAIT)", found.leftovers.map(joinedText));
  tellList("clients that knock at this host's own ports", found.knocking.map(knockingText));
  const atRisk = found.listeners.filter((one) => one.isAtRisk).length;
  if (atRisk > 0) tellCure(found);
  console.log(found.isClean ? "\nnothing at risk, nothing joined to itself" : `\n${summary(found, atRisk)}`);
}

function tellList(title: string, texts: readonly string[]): void {
  if (texts.length === 0) return;
  console.log(`\n${styled("bold", title)}`);
  for (const text of texts) console.log(`  ${text}`);
}

function tellCure(found: Audit): void {
  const low = found.ephemeralRange!.low;
  console.log(`\n${styled("bold", "what to do")} (one of these)`);
  console.log(`  move the listener below ${low}`);
  if (found.reserve) console.log(`  ${found.reserve}`);
  console.log("  guard the clients: dial() and connect() of selfconnect never hand out such a socket");
}

function summary(found: Audit, atRisk: number): string {
  const parts = [`${count(atRisk)} at risk`, `${count(found.joined.length)} joined to themselves`];
  return styled("red", parts.join(", "));
}

function listenerText(risk: PortRisk): string {
  const verdict = risk.meanMs
    ? `${styled("red", "at risk")}: without the listener one client is joined to itself after ` +
      `${duration(risk.meanMs.everySecond)} at one attempt a second, ${duration(risk.meanMs.fullSpeed)} at full speed`
    : `spared: ${risk.never?.because ?? "the range is not known"}`;
  return `${formatAddress(risk.local)} ${ownerText(risk.owner)} ${verdict}`;
}

function joinedText({ local, state, owner, ageMs }: JoinedSocket): string {
  const age = ageMs === null ? "" : `, ${state === "TIME-WAIT" ? "for" : "quiet for"} ${duration(ageMs)}`;
  return `${formatAddress(local)} ${ownerText(owner)} ${state}${age}`;
}

function knockingText({ local, peer, owner, retransmits, isAtRisk }: Knocking): string {
  const risk = isAtRisk ? styled("red", "at risk") : "spared";
  const again = `SYN sent again ${count(retransmits)} times`;
  return `${formatAddress(local)} to ${formatAddress(peer)} ${ownerText(owner)} ${again}: ${risk}`;
}

function ownerText(owner: Owner | null): string {
  if (!owner) return "(no process to be seen)";
  const cgroup = owner.cgroup ? `, ${owner.cgroup.slice(-LONGEST_CGROUP)}` : "";
  return `(pid ${owner.pid}, ${owner.command}${cgroup})`;
}

/** The object of docs/schema/audit-1.json. */
export function report(found: Audit) {
  return { schema: "selfconnect.audit/1", ...found, environment: environment() };
}
