/** The audits of a fleet: one of each host, once or again and again by a scheduler of BullMQ. */
import { once } from "node:events";
import { packageVersion } from "../kernel/version.ts";
import { checkPort } from "../socket/address-text.ts";
import { checkKeys, checkSignal, invalidArgument } from "../socket/misuse.ts";
import type { AuditAnswer } from "./audit-answer.ts";
import type { Connection } from "./connection.ts";
import { openConnection } from "./connection.ts";
import type { FleetOptions } from "./fleet-lab.ts";
import { FLEET_KEYS, newRun, noHosts, whyNotAsked } from "./fleet-lab.ts";
import { listHosts } from "./hosts.ts";
import type { Cell } from "./inquiry.ts";
import { ask } from "./inquiry.ts";

/** One host of an audit: what it found, or why it did not answer. */
export interface AuditedHost {
  /** The name of the host. */
  readonly host: string;
  /** Its kernel's release, as its worker announced it. */
  readonly kernel: string;
  /** Null when it did not answer. */
  readonly audit: AuditAnswer | null;
  /** Why it did not answer; null when it did. */
  readonly missing: string | null;
}

/** The audits of all hosts, of one round. */
export interface FleetAudit {
  /** 0 for the first round. */
  readonly round: number;
  /** When the round began, as an ISO 8601 time. */
  readonly startedAt: string;
  /** When the last answer came, or the deadline. */
  readonly endedAt: string;
  /** Sorted by name. */
  readonly hosts: readonly AuditedHost[];
  /** "found" when a host found something; "unknown" when none did, and some did not answer or could not see all. */
  readonly verdict: "clean" | "found" | "unknown";
}

/** The options of auditFleet(). */
export interface FleetAuditOptions extends FleetOptions {
  /** Assess these ports instead of the listeners, at most 200. */
  readonly ports?: readonly number[];
  /** Called after each answer, with how many hosts have answered and how many were asked. */
  readonly progress?: (answered: number, asked: number) => void;
}

/** The options of watchFleet(). */
export interface FleetWatchOptions extends FleetAuditOptions {
  /** The time from the start of one round to that of the next: 1 s or more. */
  readonly everyMs: number;
  /** The last round begins before this time is over. */
  readonly durationMs: number;
}

const AUDIT_KEYS = ["ports", "progress"];
const DEADLINE_MS = 60_000;
const MOST_PORTS = 200;
const LEAST_EVERY_MS = 1_000;
const REMOVED = { removeOnComplete: { count: 0 }, removeOnFail: { count: 0 } };

/**
 * Redis, through BullMQ: audits every host that has a worker. Rejects when Redis cannot be reached, and when no host
 * matches.
 */
export async function auditFleet(options: FleetAuditOptions): Promise<FleetAudit> {
  checkKeys("auditFleet()", options, [...FLEET_KEYS, ...AUDIT_KEYS]);
  checkOptions(options);
  await using connection = await openConnection(options.queue, options.onTrouble);
  const found = await auditRound(connection, options, newRun(), 0);
  if (found.hosts.length === 0) throw new Error(noHosts(options.hosts));
  return found;
}

/**
 * Audits the fleet again and again. A job scheduler of BullMQ in Redis says when: rounds keep their time when this
 * process is slow, and a host that comes later is asked from its next round on. Calls `onRound` after each, and resolves
 * with the number of rounds after `durationMs`, or when the signal aborts.
 */
export async function watchFleet(
  options: FleetWatchOptions,
  onRound: (found: FleetAudit) => void,
): Promise<number> {
  checkKeys("watchFleet()", options, [...FLEET_KEYS, ...AUDIT_KEYS, "everyMs", "durationMs"]);
  checkOptions(options);
  const { everyMs, durationMs, queue, onTrouble, signal } = options;
  if (!Number.isFinite(everyMs) || everyMs < LEAST_EVERY_MS)
    throw invalidArgument(
      "ERR_OPTION_VALUE",
      `everyMs ${everyMs} is too short: use ${LEAST_EVERY_MS} or more`,
      RangeError,
    );
  await using connection = await openConnection(queue, onTrouble);
  await using rounds = new Rounds(connection, options, onRound);
  const end = AbortSignal.any([AbortSignal.timeout(durationMs), ...(signal ? [signal] : [])]);
  return await rounds.run(end);
}

function checkOptions({ ports = [], signal }: FleetAuditOptions): void {
  checkSignal(signal);
  for (const port of ports) checkPort(port);
  if (ports.length > MOST_PORTS)
    throw invalidArgument(
      "ERR_OPTION_VALUE",
      `${ports.length} ports are too many: use ${MOST_PORTS}`,
      RangeError,
    );
}

async function auditRound(
  connection: Connection,
  options: FleetAuditOptions,
  run: string,
  round: number,
): Promise<FleetAudit> {
  const { ports = [], progress, deadlineMs = DEADLINE_MS, signal } = options;
  const version = packageVersion();
  const startedAt = new Date().toISOString();
  const all = await listHosts(connection.redis, options.hosts);
  const hosts = new Map<string, AuditedHost>(
    all.map((host) => {
      const { kernel } = host.announcement;
      return [host.name, { host: host.name, kernel, audit: null, missing: whyNotAsked(host, version) }];
    }),
  );
  const asked = [...hosts.values()].filter(({ missing }) => missing === null);
  const cells: Cell[] = asked.map(({ host }) => ({
    host,
    order: { version, run, kind: "audit", round, ports },
  }));
  let answered = 0;
  const open = await ask(connection, cells, {
    run,
    take: (host, _order, reply) => {
      const known = hosts.get(host)!;
      if (reply.kind === "audit") hosts.set(host, { ...known, audit: reply.audit });
      else
        hosts.set(host, {
          ...known,
          missing: reply.kind === "refused" ? reply.why : "it answered another question",
        });
      progress?.(++answered, cells.length);
    },
    save: () => {},
    deadlineMs,
    ...(signal && { signal }),
  });
  for (const { host, why } of open) hosts.set(host, { ...hosts.get(host)!, missing: why });
  return {
    round,
    startedAt,
    endedAt: new Date().toISOString(),
    hosts: [...hosts.values()],
    verdict: verdictOf(hosts),
  };
}

function verdictOf(hosts: ReadonlyMap<string, AuditedHost>): FleetAudit["verdict"] {
  const audits = [...hosts.values()].map(({ audit }) => audit);
  if (audits.some((audit) => audit?.verdict === "found")) return "found";
  return audits.some((audit) => audit?.verdict !== "clean") ? "unknown" : "clean";
}

/** The rounds that a scheduler begins. */
class Rounds implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #options: FleetWatchOptions;
  readonly #onRound: (found: FleetAudit) => void;
  readonly #run = newRun();
  #count = 0;

  constructor(connection: Connection, options: FleetWatchOptions, onRound: (found: FleetAudit) => void) {
    this.#connection = connection;
    this.#options = options;
    this.#onRound = onRound;
  }

  async run(end: AbortSignal): Promise<number> {
    const { bullmq, base } = this.#connection;
    const queue = new bullmq.Queue(this.#queueName(), base);
    await queue.upsertJobScheduler("rounds", { every: this.#options.everyMs }, { name: "round" });
    await queue.close();
    const failed = new AbortController();
    const over = AbortSignal.any([end, failed.signal]);
    const work = async () => {
      if (!over.aborted) await this.#round(over).catch((error: unknown) => failed.abort(error));
      return null;
    };
    const worker = new bullmq.Worker(this.#queueName(), work, { ...base, ...REMOVED });
    worker.on("error", () => {}); // The connection reports its own trouble.
    if (!over.aborted) await once(over, "abort");
    await worker.close(this.#connection.redis.status !== "ready");
    if (failed.signal.aborted) throw failed.signal.reason;
    return this.#count;
  }

  async #round(signal: AbortSignal): Promise<void> {
    const round = this.#count;
    // A round must end before the next: else a host that never answers would delay them all.
    const deadlineMs = Math.min(this.#options.deadlineMs ?? DEADLINE_MS, this.#options.everyMs * 0.9);
    const found = await auditRound(
      this.#connection,
      { ...this.#options, deadlineMs, signal },
      this.#run,
      round,
    );
    if (signal.aborted) return;
    this.#count++;
    this.#onRound(found);
  }

  #queueName(): string {
    return `rounds.${this.#run}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#connection.redis.status !== "ready") return;
    const queue = new this.#connection.bullmq.Queue(this.#queueName(), this.#connection.base);
    await queue.removeJobScheduler("rounds").catch(() => false);
    await queue.obliterate({ force: true }).catch(() => undefined);
    await queue.close();
  }
}
