/** The audit of a host as it goes over the queue: what reports and metrics need, with bounds, checked field by field. */
import type { Audit, PortOwner } from "../audit/audit.ts";
import type { Risk } from "../audit/risk.ts";
import { number, record, text } from "../lab/transcript.ts";
import type { Address } from "../socket/address.ts";
import { checkAddress } from "../socket/address.ts";

/** A socket, what it is, and the program that has it open. */
export interface AnsweredSocket {
  /** The local address. */
  readonly local: Address;
  /** A sentence without its subject, the address: "listens: pid 4242 (node, user www)". */
  readonly is: string;
  /** Null where no process has it open, and where none is visible. */
  readonly owner: { readonly command: string } | null;
}

/** What one host's worker found, in one network namespace: the worker's. */
export interface AuditAnswer {
  /** As in Audit. */
  readonly verdict: Audit["verdict"];
  /** What could not be seen. */
  readonly unseen: readonly string[];
  /** False when the process of some socket may not be visible: its worker is not root. */
  readonly seesAllProcesses: boolean;
  /** The listeners inside the ephemeral range, with their risk. */
  readonly listeners: readonly (AnsweredSocket & { readonly risk: Risk })[];
  /** The ports that were asked for. */
  readonly ports: readonly { readonly port: number; readonly risk: Risk }[];
  /** Sockets that are joined to themselves now. */
  readonly joined: readonly AnsweredSocket[];
  /** Self-connects in TIME-WAIT. */
  readonly leftovers: readonly AnsweredSocket[];
  /** Clients whose SYN to an ephemeral port of the host is unanswered. */
  readonly knocking: readonly (AnsweredSocket & { readonly risk: Risk })[];
  /** Destinations towards which a tenth of the ephemeral ports or more are in use. */
  readonly destinations: readonly AnsweredDestination[];
  /** How many rows the bounds left out; 0 for almost every host. */
  readonly omitted: number;
}

/** One destination, and how many ephemeral ports are in use towards it. */
export interface AnsweredDestination {
  /** With port 0. */
  readonly local: Address;
  /** The other end. */
  readonly peer: Address;
  /** Ports that connect(2) cannot pick now. */
  readonly portsInUse: number;
  /** How many ports it can pick. */
  readonly ports: number;
}

/** Rows of one list. */
const MOST_ROWS = 300;
const LISTS = ["listeners", "ports", "joined", "leftovers", "knocking", "destinations"] as const;
const RISKS: readonly Risk[] = ["at-risk", "bind-first", "held", "safe", "unknown"];
const VERDICTS: readonly Audit["verdict"][] = ["clean", "found", "unknown"];
const MOST_TEXT = 200;

/** What a worker sends of an audit. */
export function auditAnswer(audit: Audit): AuditAnswer {
  const few = <Row>(rows: readonly Row[]): readonly Row[] => rows.slice(0, MOST_ROWS);
  // The dangerous ones first, so that the bound leaves out the others.
  const ordered = <Row extends { readonly risk: Risk }>(rows: readonly Row[]): readonly Row[] =>
    few([...rows].sort((one, other) => RISKS.indexOf(one.risk) - RISKS.indexOf(other.risk)));
  return {
    verdict: audit.verdict,
    unseen: few(audit.unseen),
    seesAllProcesses: audit.seesAllProcesses,
    listeners: ordered(audit.listeners).map((row) => ({ ...socketOf(row), risk: row.risk })),
    ports: ordered(audit.ports).map(({ port, risk }) => ({ port, risk })),
    joined: few(audit.joined).map(socketOf),
    leftovers: few(audit.leftovers).map(socketOf),
    knocking: ordered(audit.knocking).map((row) => ({ ...socketOf(row), risk: row.risk })),
    destinations: few(audit.destinations).map(({ local, peer, portsInUse, ports }) => {
      return { local, peer, portsInUse, ports };
    }),
    omitted: LISTS.reduce((sum, name) => sum + Math.max(0, audit[name].length - MOST_ROWS), 0),
  };
}

function socketOf({ local, is, owner }: PortOwner): AnsweredSocket {
  const command = owner && { command: owner.command.slice(0, MOST_TEXT) };
  return { local, is: is.slice(0, MOST_TEXT), owner: command };
}

/** Checks an audit from outside, and returns a copy with the known fields only. */
export function checkAuditAnswer(value: unknown): AuditAnswer {
  const given = record(value, "an audit");
  const verdict = VERDICTS.find((one) => one === given.verdict);
  if (!verdict) throw new Error("the verdict of an audit is unknown");
  return {
    verdict,
    unseen: list(given.unseen, "unseen").map((one) => text(one, "unseen")),
    seesAllProcesses: given.seesAllProcesses === true,
    listeners: list(given.listeners, "listeners").map(checkRisky),
    ports: list(given.ports, "ports").map(checkPort),
    joined: list(given.joined, "joined").map(checkSocket),
    leftovers: list(given.leftovers, "leftovers").map(checkSocket),
    knocking: list(given.knocking, "knocking").map(checkRisky),
    destinations: list(given.destinations, "destinations").map(checkDestination),
    omitted: number(given.omitted, "omitted"),
  };
}

function checkSocket(value: unknown): AnsweredSocket {
  const { local, is, owner } = record(value, "a socket");
  const command = owner === null ? null : { command: text(record(owner, "owner").command, "command") };
  return { local: addressOf(local), is: text(is, "is"), owner: command };
}

function checkRisky(value: unknown): AnsweredSocket & { readonly risk: Risk } {
  return { ...checkSocket(value), risk: riskOf(value) };
}

function checkPort(value: unknown): { port: number; risk: Risk } {
  return { port: number(record(value, "a port").port, "port"), risk: riskOf(value) };
}

function checkDestination(value: unknown): AnsweredDestination {
  const { local, peer, portsInUse, ports } = record(value, "a destination");
  return {
    local: addressOf(local),
    peer: addressOf(peer),
    portsInUse: number(portsInUse, "portsInUse"),
    ports: number(ports, "ports"),
  };
}

function riskOf(value: unknown): Risk {
  const { risk } = record(value, "a row");
  const known = RISKS.find((one) => one === risk);
  if (!known) throw new Error("a risk is unknown");
  return known;
}

/** A copy of the known fields, whose host is an address. */
function addressOf(value: unknown): Address {
  const { family, host, port, scope } = record(value, "an address");
  const address = {
    family: family === 6 ? (6 as const) : (4 as const),
    host: text(host, "host"),
    port: number(port, "port"),
    ...(scope !== undefined && { scope: text(scope, "scope") }),
  };
  return checkAddress(address);
}

function list(value: unknown, name: string): unknown[] {
  if (Array.isArray(value) && value.length <= MOST_ROWS) return value;
  throw new Error(`${name} is not a short list`);
}
