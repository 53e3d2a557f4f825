/** The object of docs/schema/audit-1.json: what `audit()` found; and the same as text. */
import type { Audit, JoinedSocket, Knocking, Owner, PortRisk } from "../audit/audit.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import { portAlgorithm } from "../ports/algorithms.ts";
import { formatAddress } from "../socket/address.ts";
import { count, duration } from "./numbers.ts";
import type { Line, Piece, TextOptions } from "./terminal.ts";
import { indent, paint, renderText } from "./terminal.ts";

/** What `audit()` found, with the environment: the object of docs/schema/audit-1.json. */
export interface AuditReport extends Audit {
  readonly schema: "selfconnect.audit/1";
  readonly environment: Environment;
}

/** How an audit is shown as text. */
export interface AuditTextOptions extends TextOptions {
  /** The port that was asked for instead of the listeners. */
  readonly port?: number | undefined;
}

const LONGEST_CGROUP = 60;

/** The object of docs/schema/audit-1.json. */
export function auditReport(found: Audit): AuditReport {
  return { schema: "selfconnect.audit/1", ...found, environment: environment() };
}

/** An audit for a terminal: range, listeners, joined sockets, what is left of them, and what to do. */
export function auditText(found: Audit, options: AuditTextOptions = {}): string {
  const range = found.ephemeralRange;
  const reserved = found.reservedPorts.map(({ low, high }) => (low === high ? `${low}` : `${low}-${high}`));
  const isOfParity = portAlgorithm(found.algorithm).parity === "low";
  const parity = isOfParity
    ? `: connect(2) picks ${(range?.low ?? 0) % 2 === 0 ? "even" : "odd"} ports first`
    : "";
  const title = options.port === undefined ? "listeners inside the range" : `port ${options.port}`;
  const atRisk = found.listeners.filter((one) => one.isAtRisk).length;
  const lines: Line[] = [
    `ephemeral range ${range ? `${range.low}-${range.high}${parity}` : "not reported by this host"}`,
    `reserved ports: ${reserved.join(",") || "none"}`,
    ...listLines(title, found.listeners.map(listenerPieces)),
    ...listLines("joined to themselves now", found.joined.map(joinedPieces)),
    ...listLines("left behind by self-connects (TIME-WAIT)", found.leftovers.map(joinedPieces)),
    ...listLines("clients that knock at this host's own ports", found.knocking.map(knockingPieces)),
    ...(atRisk > 0 ? cureLines(found) : []),
    "",
    found.isClean ? "nothing at risk, nothing joined to itself" : [summaryPiece(found, atRisk)],
  ];
  return renderText(lines, options);
}

/** What has appeared since an earlier audit, with a plus, and what has gone, with a minus; "" when nothing has. */
export function auditChangesText(last: Audit, next: Audit, at: Date, options: TextOptions = {}): string {
  const [before, after] = [findingsOf(last), findingsOf(next)];
  const time = at.toISOString();
  const gone = [...before].filter(([key]) => !after.has(key));
  const come = [...after].filter(([key]) => !before.has(key));
  const lines = [
    ...gone.map(([, pieces]) => [`${time} - `, ...pieces]),
    ...come.map(([, pieces]) => [`${time} + `, ...pieces]),
  ];
  return renderText(lines, options);
}

/** Every finding under a name that stays while it does. */
function findingsOf(found: Audit): Map<string, readonly Piece[]> {
  // Not under its owner: a process that ends while we look leaves its socket for a moment without one.
  const of = (kind: string, { local }: { local: PortRisk["local"] }) => `${kind} ${formatAddress(local)}`;
  return new Map([
    ...found.listeners.map((one) => [of("listener", one), listenerPieces(one)] as const),
    ...found.joined.map((one) => [of("joined", one), joinedPieces(one)] as const),
    ...found.leftovers.map((one) => [of("leftover", one), joinedPieces(one)] as const),
    ...found.knocking.map(
      (one) => [`${of("knocking", one)} ${formatAddress(one.peer)}`, knockingPieces(one)] as const,
    ),
  ]);
}

function listLines(title: string, lines: readonly Line[]): Line[] {
  return lines.length === 0 ? [] : ["", [paint("bold", title)], ...indent("  ", lines)];
}

function cureLines(found: Audit): Line[] {
  return [
    "",
    [paint("bold", "what to do"), " (one of these)"],
    ...indent("  ", [
      `move the listener below ${found.ephemeralRange!.low}`,
      ...(found.reserve ? [found.reserve] : []),
      "guard the clients: dial() and connect() of selfconnect never hand out such a socket",
    ]),
  ];
}

function summaryPiece(found: Audit, atRisk: number): Piece {
  return paint("red", `${count(atRisk)} at risk, ${count(found.joined.length)} joined to themselves`);
}

function listenerPieces({ local, owner, meanMs, never }: PortRisk): Piece[] {
  const name = `${formatAddress(local)} ${ownerText(owner)} `;
  if (!meanMs) return [`${name}spared: ${never?.because ?? "the range is not known"}`];
  return [
    name,
    paint("red", "at risk"),
    ": without the listener one client is joined to itself after " +
      `${duration(meanMs.everySecond)} at one attempt a second, ${duration(meanMs.fullSpeed)} at full speed`,
  ];
}

function joinedPieces({ local, state, owner, ageMs }: JoinedSocket): Piece[] {
  const age = ageMs === null ? "" : `, ${state === "TIME-WAIT" ? "for" : "quiet for"} ${duration(ageMs)}`;
  return [`${formatAddress(local)} ${ownerText(owner)} ${state}${age}`];
}

function knockingPieces({ local, peer, owner, retransmits, isAtRisk }: Knocking): Piece[] {
  const again = `SYN sent again ${count(retransmits)} times`;
  return [
    `${formatAddress(local)} to ${formatAddress(peer)} ${ownerText(owner)} ${again}: `,
    isAtRisk ? paint("red", "at risk") : "spared",
  ];
}

function ownerText(owner: Owner | null): string {
  if (!owner) return "(no process to be seen)";
  const cgroup = owner.cgroup ? `, ${owner.cgroup.slice(-LONGEST_CGROUP)}` : "";
  return `(pid ${owner.pid}, ${owner.command}${cgroup})`;
}
