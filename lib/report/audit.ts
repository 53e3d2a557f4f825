/** An audit as the object of docs/schema/audit-1.json and as text. */
import type { Audit, JoinedSocket, Knocking, Owner, PortRisk } from "../audit/audit.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import { portAlgorithm } from "../ports/algorithms.ts";
import { formatAddress } from "../socket/address.ts";
import { count, duration, pluralize } from "./numbers.ts";
import type { Line, Piece, TextOptions } from "./terminal.ts";
import { indent, paint, renderText } from "./terminal.ts";

/** The object of docs/schema/audit-1.json: the result of `audit()` and the environment. */
export interface AuditReport extends Audit {
  readonly schema: "selfconnect.audit/1";
  readonly environment: Environment;
}

/** Options of `auditText`. */
export interface AuditTextOptions extends TextOptions {
  /** The port that was assessed instead of the listeners. */
  readonly port?: number | undefined;
}

const LONGEST_CGROUP = 60;

/** Builds the object of docs/schema/audit-1.json. */
export function auditReport(found: Audit): AuditReport {
  return { schema: "selfconnect.audit/1", ...found, environment: environment() };
}

/** An audit for a terminal: range, listeners, joined sockets, their leftovers, and what to do. */
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
    ...listLines("clients whose SYN is unanswered", found.knocking.map(knockingPieces)),
    ...(atRisk > 0 ? cureLines(found) : []),
    "",
    found.isClean ? "nothing at risk, nothing joined to itself" : [summaryPiece(found, atRisk)],
  ];
  return renderText(lines, options);
}

/** The changes since an earlier audit: new findings with a plus, lost ones with a minus; "" if there are none. */
export function auditChangesText(last: Audit, next: Audit, at: Date, options: TextOptions = {}): string {
  const [before, after] = [findingsOf(last), findingsOf(next)];
  const time = at.toISOString();
  const removed = [...before].filter(([key]) => !after.has(key));
  const added = [...after].filter(([key]) => !before.has(key));
  const lines = [
    ...removed.map(([, pieces]) => [`${time} - `, ...pieces]),
    ...added.map(([, pieces]) => [`${time} + `, ...pieces]),
  ];
  return renderText(lines, options);
}

/** Maps a stable key of every finding to its text. */
function findingsOf(found: Audit): Map<string, readonly Piece[]> {
  // The owner is no part of the key: when a process ends, its socket has no owner for a moment.
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
      "guard the clients: dial() and connect() of selfconnect never return such a socket",
    ]),
  ];
}

function summaryPiece(found: Audit, atRisk: number): Piece {
  return paint("red", `${count(atRisk)} at risk, ${count(found.joined.length)} joined to themselves`);
}

function listenerPieces({ local, owner, meanMs, never }: PortRisk): Piece[] {
  const name = `${formatAddress(local)} ${ownerText(owner)} `;
  if (!meanMs) return [`${name}not at risk: ${never?.because ?? "the ephemeral range is unknown"}`];
  return [
    name,
    paint("red", "at risk"),
    ": without the listener, one client is joined to itself after " +
      `${duration(meanMs.everySecond)} at one attempt per second, ${duration(meanMs.fullSpeed)} at full speed`,
  ];
}

function joinedPieces({ local, state, owner, ageMs }: JoinedSocket): Piece[] {
  const age = ageMs === null ? "" : `, ${state === "TIME-WAIT" ? "for" : "idle for"} ${duration(ageMs)}`;
  return [`${formatAddress(local)} ${ownerText(owner)} ${state}${age}`];
}

function knockingPieces({ local, peer, owner, retransmits, isAtRisk }: Knocking): Piece[] {
  const again = `SYN retransmitted ${pluralize(retransmits, "time")}`;
  return [
    `${formatAddress(local)} to ${formatAddress(peer)} ${ownerText(owner)} ${again}: `,
    isAtRisk ? paint("red", "at risk") : "not at risk",
  ];
}

function ownerText(owner: Owner | null): string {
  if (!owner) return "(owner unknown)";
  const cgroup = owner.cgroup ? `, ${owner.cgroup.slice(-LONGEST_CGROUP)}` : "";
  return `(pid ${owner.pid}, ${owner.command}${cgroup})`;
}
