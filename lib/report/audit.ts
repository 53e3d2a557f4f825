/** An audit as the object of docs/schema/audit-1.json and as text. */
import type { HostAudit, NamespaceAudit } from "../audit/all-namespaces.ts";
import type { AskedPort, Audit, JoinedSocket, Knocking, ListenerRisk, PortOwner } from "../audit/audit.ts";
import { isDangerous } from "../audit/audit.ts";
import type { Destination } from "../audit/destinations.ts";
import { isNearlyFull } from "../audit/destinations.ts";
import { describeProcess, HIDDEN_OWNER } from "../audit/holder-words.ts";
import type { PortRisk } from "../audit/risk.ts";
import type { Environment } from "../kernel/host.ts";
import { environment } from "../kernel/host.ts";
import { portAlgorithm } from "../ports/algorithms.ts";
import { FULL_SPEED } from "../ports/model.ts";
import type { Address } from "../socket/address.ts";
import { formatAddress } from "../socket/address.ts";
import { cureLines } from "./audit-cures.ts";
import { count, duration, pluralize } from "./numbers.ts";
import type { Line, Piece, TextOptions } from "./terminal.ts";
import { indent, paint, renderText } from "./terminal.ts";

/** The object of docs/schema/audit-1.json: the result of `audit()` and the environment. */
export interface AuditReport extends Audit {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.audit/1";
  /** The audits of other network namespaces; null when only this one was asked for. */
  readonly namespaces: readonly NamespaceAudit[] | null;
  /** The host, kernel and versions of this run. */
  readonly environment: Environment;
}

/** Builds the object of docs/schema/audit-1.json. */
export function auditReport(found: Audit): AuditReport {
  return { schema: "selfconnect.audit/1", ...found, namespaces: null, environment: environment() };
}

/** Builds the object of docs/schema/audit-1.json for all network namespaces: this one's, and `namespaces`. */
export function hostAuditReport({ own, others, unseen, verdict }: HostAudit): AuditReport {
  return { ...auditReport(own), unseen: [...own.unseen, ...unseen], verdict, namespaces: others };
}

/** An audit for a terminal: range, listeners, joined sockets, their leftovers, destinations, and what to do. */
export function auditText(found: Audit, options: TextOptions = {}): string {
  return renderText(auditLines(found), options);
}

/** The audits of all network namespaces for a terminal, one after the other. */
export function hostAuditText(
  { own, others, unseen, verdict }: HostAudit,
  options: TextOptions = {},
): string {
  const sections = others.flatMap((found) => [
    "",
    [
      paint("bold", `network namespace ${found.namespace}`),
      found.process ? `: ${describeProcess(found.process)}` : "",
    ],
    ...indent("  ", auditLines(found)),
  ]);
  const title = [paint("bold", "this network namespace")];
  const missing = unseen.map((what) => `could not see ${what}`);
  const all = `${pluralize(others.length + 1, "network namespace")}: `;
  const lines: Line[] = [
    title,
    ...indent("  ", auditLines(own)),
    ...sections,
    "",
    ...missing,
    [all, verdictPiece(verdict)],
  ];
  return renderText(lines, options);
}

function verdictPiece(verdict: Audit["verdict"]): Piece {
  if (verdict === "clean") return paint("green", CLEAN);
  return verdict === "found"
    ? paint("red", "something is at risk, or joined to itself")
    : paint("yellow", UNKNOWN);
}

const UNKNOWN_TIME =
  "after an unknown time: neither the release of this kernel nor its tables show when it picks the port, " +
  "`selfconnect predict` observes it";
const CLEAN = "nothing at risk, nothing joined to itself";
const UNKNOWN = "unknown: not everything could be seen";

function auditLines(found: Audit): Line[] {
  const range = found.ephemeralRange;
  const reserved = found.reservedPorts.map(({ low, high }) => (low === high ? `${low}` : `${low}-${high}`));
  const isOfParity = found.algorithm === "unknown" || portAlgorithm(found.algorithm).parity === "low";
  const parity = isOfParity
    ? `: connect(2) picks ${(range?.low ?? 0) % 2 === 0 ? "even" : "odd"} ports first`
    : "";
  return [
    `ephemeral range ${range ? `${range.low}-${range.high}${parity}` : "not reported by this host"}`,
    `reserved ports: ${reserved.join(",") || "none"}`,
    ...auditSections(found).flatMap(sectionLines),
    ...cureLines(found),
    ...ownerLines(found),
    "",
    summaryLine(found),
  ];
}

/** Findings of one kind. */
export interface AuditSection {
  readonly title: string;
  readonly lines: readonly (readonly Piece[])[];
}

/** The findings of an audit by their kind, those without a finding left out. */
export function auditSections(found: Audit): AuditSection[] {
  const inRange = found.ephemeralRange ? "listeners inside the range" : "listeners";
  const listeners = found.ports.length > 0 ? "listeners on these ports" : inRange;
  const sections: AuditSection[] = [
    { title: "ports asked for", lines: found.ports.map(askedPieces) },
    { title: listeners, lines: found.listeners.map(listenerPieces) },
    { title: "joined to themselves now", lines: found.joined.map(joinedPieces) },
    { title: "left behind by self-connects (TIME-WAIT)", lines: found.leftovers.map(joinedPieces) },
    { title: "clients whose SYN is unanswered", lines: found.knocking.map(knockingPieces) },
    {
      title: "destinations, by their share of the ephemeral ports",
      lines: found.destinations.map(destinationPieces),
    },
  ];
  return sections.filter(({ lines }) => lines.length > 0);
}

function sectionLines({ title, lines }: AuditSection): Line[] {
  return ["", [paint("bold", title)], ...indent("  ", lines)];
}

/**
 * The changes since earlier audits of the same namespaces: new findings with a plus, lost ones with a minus, or "". For
 * programs that repeat audit() or auditAllNamespaces() and log what is new, as `selfconnect audit --watch` does.
 */
export function auditChangesText(
  last: readonly Audit[],
  next: readonly Audit[],
  at: Date,
  options: TextOptions = {},
): string {
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
function findingsOf(audits: readonly (Audit | NamespaceAudit)[]): Map<string, readonly Piece[]> {
  const findings = audits.flatMap((found) => {
    const namespace = "namespace" in found ? found.namespace : null;
    const place = namespace === null ? "" : `network namespace ${namespace}: `;
    return listFindings(found).map(([key, pieces]) => [place + key, [place, ...pieces]] as const);
  });
  return new Map(findings);
}

function listFindings(found: Audit): [key: string, pieces: readonly Piece[]][] {
  // The owner is no part of the key: when a process ends, its socket has no owner for a moment.
  const key = (kind: string, { local }: { local: Address }) => `${kind} ${formatAddress(local)}`;
  return [
    ...found.ports.map((one): [string, Piece[]] => [`port ${one.port}`, askedPieces(one)]),
    ...found.listeners.map((one): [string, Piece[]] => [key("listener", one), listenerPieces(one)]),
    ...found.joined.map((one): [string, Piece[]] => [key("joined", one), joinedPieces(one)]),
    ...found.leftovers.map((one): [string, Piece[]] => [key("leftover", one), joinedPieces(one)]),
    ...found.knocking.map((one): [string, Piece[]] => [
      `${key("knocking", one)} ${formatAddress(one.peer)}`,
      knockingPieces(one),
    ]),
    ...found.destinations.map((one): [string, Piece[]] => [
      `${key("destination", one)} ${formatAddress(one.peer)}`,
      destinationPieces(one),
    ]),
  ];
}

/** Without an owner nobody can be asked to end the process; the verdict does not depend on it. */
function ownerLines({ seesAllProcesses, listeners, joined, knocking }: Audit): Line[] {
  const isOwnerless = [...listeners, ...joined, ...knocking].some(({ owner }) => owner === null);
  return isOwnerless && !seesAllProcesses ? ["", HIDDEN_OWNER] : [];
}

/** The verdict in one line. */
export function summaryLine(found: Audit): Line {
  const unseen = found.unseen.length > 0 ? `; could not see ${found.unseen.join(", ")}` : "";
  if (found.verdict !== "found") return [verdictPiece(found.verdict), unseen];
  const atRisk = (list: readonly { readonly risk: PortRisk["risk"] }[]) =>
    list.filter(({ risk }) => isDangerous(risk)).length;
  const figures = [
    [atRisk([...found.listeners, ...found.ports]), "at risk"],
    [atRisk(found.knocking), found.knocking.length === 1 ? "client at risk" : "clients at risk"],
    [found.joined.length, "joined to themselves"],
    [found.leftovers.length, "left behind"],
  ] as const;
  const text = figures.map(([figure, what]) => `${count(figure)} ${what}`).join(", ");
  return [paint("red", text), unseen];
}

function askedPieces(asked: AskedPort): Piece[] {
  const now = asked.heldBy.length === 0 ? "" : ` (now on it: ${asked.heldBy.map(socketText).join("; ")})`;
  return [`port ${asked.port}: `, ...riskPieces(asked, "a client"), now];
}

function listenerPieces(listener: ListenerRisk): Piece[] {
  return [
    `${socketText(listener)}: `,
    ...riskPieces(listener, "without the listener, one client", listener.heldBy),
  ];
}

/** `who` is the client that may be joined to itself. */
function riskPieces(
  { risk, never, meanMs }: PortRisk,
  who: string,
  heldBy: readonly PortOwner[] = [],
): Piece[] {
  if (risk === "unknown") return [paint("yellow", "unknown"), ": the ephemeral range could not be read"];
  if (risk === "held")
    return [`not at risk while this is on the port too: ${heldBy.map(socketText).join("; ")}`];
  if (risk === "safe") return [`not at risk: ${never!.because}`];
  const wait = meanMs
    ? `after ${duration(meanMs.everySecond)} at one attempt per second, ` +
      `${duration(meanMs.fullSpeed)} at ${count(FULL_SPEED)}`
    : UNKNOWN_TIME;
  if (risk === "at-risk") return [paint("red", "at risk"), `: ${who} is joined to itself ${wait}`];
  return [
    paint("red", "at risk from clients that bind first"),
    ` (Node's localAddress, Python's source_address): ${who} ${wait}; not from others: ${never!.because}`,
  ];
}

function joinedPieces(joined: JoinedSocket): Piece[] {
  const isIdle = joined.ageMs !== null && joined.state !== "TIME-WAIT";
  return [socketText(joined), isIdle ? `, idle for ${duration(joined.ageMs!)}` : ""];
}

function knockingPieces(client: Knocking): Piece[] {
  const { retransmits, risk, because } = client;
  const name = `${socketText(client)}, SYN retransmitted ${pluralize(retransmits, "time")}: `;
  if (risk === "at-risk") return [name, paint("red", "at risk")];
  return [name, risk === "unknown" ? paint("yellow", "unknown") : `not at risk: ${because}`];
}

function destinationPieces(destination: Destination): Piece[] {
  const { local, peer, portsInUse, timeWait, reusable, ports } = destination;
  const share = portsInUse / ports;
  const text = `${count(portsInUse)} of ${count(ports)} ports in use (${Math.round(share * 100)} %)`;
  const resting =
    (timeWait > 0 ? `, ${count(timeWait)} of them in TIME-WAIT` : "") +
    (reusable > 0 ? `, and ${count(reusable)} in TIME-WAIT that connect(2) takes again` : "");
  return [
    `${local.host} to ${formatAddress(peer)} `,
    isNearlyFull(destination) ? paint("red", text) : text,
    `${resting}: ${share >= 1 ? "" : "when all are, "}connect(2) fails with EADDRNOTAVAIL`,
  ];
}

/** As in the text of `who`. */
function socketText({ local, is }: PortOwner): string {
  return `${formatAddress(local)} ${is}`;
}
