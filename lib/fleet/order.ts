/** What goes over the queue: orders and answers. Both sides check everything, because neither trusts the other. */
import type { Finding } from "../lab/lab.ts";
import type { GuestEnvironment, GuestFinding } from "../lab/transcript.ts";
import { checkEnvironment, checkFinding, record, text } from "../lab/transcript.ts";
import type { AuditAnswer } from "./audit-answer.ts";
import { checkAuditAnswer } from "./audit-answer.ts";

/** One question to one host. */
export type Order = {
  /** The version of the package that asks: a worker of another refuses. */
  readonly version: string;
  /** Which run asks. */
  readonly run: string;
} & (
  | { readonly kind: "experiment"; readonly experiment: string; readonly trials: number }
  | { readonly kind: "audit"; readonly round: number; readonly ports: readonly number[] }
);

/** A guest's finding, or that the guests died. */
export type FleetFinding = Omit<GuestFinding, "status"> & { readonly status: Finding["status"] };

/** What a host answers to an order. */
export type Reply =
  | {
      readonly kind: "finding";
      readonly environment: GuestEnvironment;
      readonly finding: FleetFinding;
    }
  | { readonly kind: "audit"; readonly audit: AuditAnswer }
  | { readonly kind: "refused"; readonly why: string };

/** A reply, and which order it answers. */
export interface Answer {
  readonly host: string;
  readonly cell: string;
  readonly reply: Reply;
}

const MOST_ORDER_CHARACTERS = 4_000;
const MOST_TRIALS = 1_000;
const MOST_PORTS = 200;
const MOST_ROUNDS = 1_000_000;
const KEYS = {
  experiment: ["version", "run", "kind", "experiment", "trials"],
  audit: ["version", "run", "kind", "round", "ports"],
};
const RUN = /^[0-9a-f]{16}$/;
const HOST = /^[a-z0-9](?:[a-z0-9._-]{0,62})$/;
const CELL = /^[a-z0-9-]{1,60}$/;

/** Whether a text is the id of a run. It becomes a part of keys. */
export function isRun(value: unknown): value is string {
  return typeof value === "string" && RUN.test(value);
}

/** Whether a text may name a host: lower-case letters, digits, dots, hyphens and underscores, at most 63. */
export function isHostName(value: unknown): value is string {
  return typeof value === "string" && HOST.test(value);
}

/** The queue of a host. */
export function hostQueue(host: string): string {
  return `host.${host}`;
}

/** The queue to which the answers of a run go. */
export function runQueue(run: string): string {
  return `run.${run}`;
}

/** Names the question of an order: no other of its run has this name. */
export function cellOf(order: Order): string {
  return order.kind === "experiment" ? order.experiment : `audit-${order.round}`;
}

/** The id of an order and of its answer: BullMQ adds no second job of an id. */
export function jobId(run: string, host: string, cell: string): string {
  return `${run}.${host}.${cell}`;
}

/**
 * Checks an order from outside, and returns a copy. Throws an Error for any field that is missing, unknown or out of
 * its bounds. `experiments` are the names that a worker knows.
 */
export function checkOrder(value: unknown, experiments: readonly string[]): Order {
  const order = record(value, "an order");
  if (JSON.stringify(order).length > MOST_ORDER_CHARACTERS) throw new Error("an order is too long");
  const { kind, run } = order;
  if (kind !== "experiment" && kind !== "audit") throw new Error("an order has an unknown kind");
  const unknown = Object.keys(order).find((key) => !KEYS[kind].includes(key));
  if (unknown !== undefined) throw new Error("an order has an unknown field");
  if (!isRun(run)) throw new Error("the run of an order is not one");
  const common = { version: text(order.version, "version"), run };
  if (kind === "audit") {
    const round = whole(order.round, 0, MOST_ROUNDS, "round");
    return { ...common, kind, round, ports: checkPorts(order.ports) };
  }
  const experiment = experiments.find((name) => name === order.experiment);
  if (experiment === undefined) throw new Error("an order names an unknown experiment");
  return { ...common, kind, experiment, trials: whole(order.trials, 1, MOST_TRIALS, "trials") };
}

/** Checks an answer from outside, and returns a copy with the known fields only. */
export function checkAnswer(value: unknown): Answer {
  const { host, cell, reply } = record(value, "an answer");
  if (!isHostName(host)) throw new Error("the host of an answer is not one");
  if (typeof cell !== "string" || !CELL.test(cell)) throw new Error("the cell of an answer is not one");
  return { host, cell, reply: checkReply(reply) };
}

function checkReply(value: unknown): Reply {
  const reply = record(value, "a reply");
  switch (reply.kind) {
    case "refused":
      return { kind: "refused", why: text(reply.why, "why") };
    case "audit":
      return { kind: "audit", audit: checkAuditAnswer(reply.audit) };
    case "finding":
      return {
        kind: "finding",
        environment: checkEnvironment(reply.environment),
        finding: checkEnd(reply.finding),
      };
    default:
      throw new Error("a reply has an unknown kind");
  }
}

/** Of a guest that died there is a finding too. */
function checkEnd(value: unknown): FleetFinding {
  const fields = record(value, "a finding");
  const isDead = fields.status === "died";
  const finding = checkFinding(isDead ? { ...fields, status: "failed" } : fields);
  return isDead ? { ...finding, status: "died" } : finding;
}

function checkPorts(value: unknown): number[] {
  if (!Array.isArray(value) || value.length > MOST_PORTS) throw new Error("ports are not a short list");
  return value.map((port) => whole(port, 1, 65_535, "port"));
}

function whole(value: unknown, low: number, high: number, name: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return value;
  throw new Error(`${name} is not a number of ${low} to ${high}`);
}
