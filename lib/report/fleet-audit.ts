/** The audits of a fleet: the object of docs/schema/fleet-audit-1.json, and its text. */

import { isDangerous } from "../audit/audit.ts";
import type { AuditAnswer } from "../fleet/audit-answer.ts";
import type { AuditedHost, FleetAudit } from "../fleet/fleet-audit.ts";
import { formatAddress } from "../socket/address.ts";
import type { Line, TextOptions } from "./terminal.ts";
import { renderText, tableLines } from "./terminal.ts";

/** The object that `audit --queue --json` prints. */
export type FleetAuditReport = FleetAudit & {
  /** The name and version of the published schema. */
  readonly schema: "selfconnect.fleet-audit/1";
};

/** The object of a fleet's audits. */
export function fleetAuditReport(found: FleetAudit): FleetAuditReport {
  return { schema: "selfconnect.fleet-audit/1", ...found };
}

/** What of a host is worth a line; the others are counted. */
interface Fact {
  readonly what: string;
  readonly host: string;
}

/** A fleet's audits for a terminal: what was found, with the hosts behind it; then those that did not answer. */
export function fleetAuditText({ hosts, startedAt }: FleetAudit, options: TextOptions = {}): string {
  const answered = hosts.filter(({ audit }) => audit !== null);
  const found = groupHosts(hosts.flatMap(({ host, audit }) => (audit ? linesOf(host, audit) : [])));
  const missing = groupHosts(hosts.flatMap(missingLine));
  const clean = answered.filter(({ audit }) => audit!.verdict === "clean").length;
  return renderText(
    [
      `${startedAt}: ${answered.length} of ${hosts.length} hosts answered, ${clean} of them clean`,
      ...section("found", found),
      ...section("without an answer", missing),
    ],
    options,
  );
}

function section(title: string, groups: ReadonlyMap<string, readonly string[]>): Line[] {
  if (groups.size === 0) return [];
  const most = [...groups].sort(([, one], [, other]) => other.length - one.length);
  const rows = most.map(([what, names]) => [`  ${names.length}`, what, namesText(names)]);
  return ["", title, ...tableLines(rows, "rll")];
}

const MOST_NAMES = 6;

function namesText(names: readonly string[]): string {
  const more = names.length - MOST_NAMES;
  return [...names.slice(0, MOST_NAMES), ...(more > 0 ? [`and ${more} more`] : [])].join(", ");
}

function groupHosts(facts: readonly Fact[]): Map<string, string[]> {
  const groups = new Map<string, Set<string>>();
  for (const { what, host } of facts) groups.set(what, (groups.get(what) ?? new Set()).add(host));
  return new Map([...groups].map(([what, hosts]) => [what, [...hosts]]));
}

function linesOf(host: string, audit: AuditAnswer): Fact[] {
  const { listeners, ports, joined, leftovers, knocking, destinations, unseen, omitted } = audit;
  const owner = (one: AuditAnswer["joined"][number]) => (one.owner ? ` (${one.owner.command})` : "");
  const whats = [
    ...listeners
      .filter(({ risk }) => isDangerous(risk))
      .map((one) => `listener at risk: ${formatAddress(one.local)}${owner(one)}`),
    ...ports.filter(({ risk }) => isDangerous(risk)).map(({ port }) => `port at risk: ${port}`),
    ...joined.map((one) => `joined to itself: ${formatAddress(one.local)}${owner(one)}`),
    ...(leftovers.length > 0 ? ["left in TIME-WAIT by a self-connect"] : []),
    ...knocking.filter(({ risk }) => isDangerous(risk)).map((one) => `a client may be joined${owner(one)}`),
    ...destinations
      .filter(({ portsInUse, ports: most }) => portsInUse * 2 > most)
      .map(({ peer }) => `more than half of the ephemeral ports in use to ${formatAddress(peer)}`),
    ...unseen.map((what) => `not readable: ${what}`),
    ...(omitted > 0 ? ["more rows than an answer may have"] : []),
  ];
  return whats.map((what) => ({ what, host }));
}

function missingLine({ host, missing }: AuditedHost): Fact[] {
  return missing === null ? [] : [{ what: missing, host }];
}
