/** The worker of one host: announces it, takes its orders from the queue one by one, and answers them. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Job, Queue, Worker } from "bullmq";
import { packageVersion } from "../kernel/version.ts";
import { EXPERIMENTS } from "../lab/experiments.ts";
import { checkKeys, invalidArgument } from "../socket/misuse.ts";
import type { AnswerOrder } from "./answers.ts";
import { answerOrder } from "./answers.ts";
import type { Connection } from "./connection.ts";
import { openConnection, PREFIX } from "./connection.ts";
import type { Announcement } from "./hosts.ts";
import {
  ANNOUNCE_EVERY_MS,
  announce,
  defaultHostName,
  leave,
  ownAnnouncement,
  readHost,
  SILENT_MS,
} from "./hosts.ts";
import type { Order, Reply } from "./order.ts";
import { cellOf, checkOrder, hostQueue, isHostName, jobId, runQueue } from "./order.ts";

/** The options of runWorker(). */
export interface WorkerOptions {
  /** Where the queue is: "redis://host:6379", "rediss://user:password@host/0", "unix:///run/redis.sock". */
  readonly queue: string;
  /** The name of this host, which no other of the queue has; default: its own, in lower case. */
  readonly name?: string;
  /** Another worker takes an order again this long after the last sign of the one that took it; default 30 s. */
  readonly stalledMs?: number;
  /** Called for what happens: an order taken, answered or refused, a lost connection. */
  readonly report?: (event: WorkerEvent) => void;
  /** Ends the worker, after the order that it answers. */
  readonly signal?: AbortSignal;
}

/** Something that happened in a worker. */
export interface WorkerEvent {
  /** "listening" once, then what became of each order, and "trouble" with Redis. */
  readonly kind: "listening" | "answered" | "refused" | "dropped" | "trouble";
  /** In words. The words of others are in it: escape them. */
  readonly text: string;
}

const OPTION_KEYS = ["queue", "name", "stalledMs", "report", "signal"];
const STALLED_MS = 30_000;
/** How often an order is begun: one that ended its worker twice is given up. */
const MOST_STARTS = 2;
/** How long an idle worker waits at a time: an order wakes it at once, and ten thousand idle ones cost Redis little. */
const DRAIN_SECONDS = 20;
const MOST_EVENTS = 50;
/** Jobs of orders leave nothing behind in Redis: what is known of a cell is its answer. */
const REMOVED = { removeOnComplete: { count: 0 }, removeOnFail: { count: 0 } };

/**
 * Redis, through BullMQ: takes this host's orders until the signal aborts. Rejects when Redis cannot be reached at the
 * start, and when another host has the name. Throws ERR_INVALID_QUEUE and ERR_INVALID_HOST.
 */
export function runWorker(options: WorkerOptions): Promise<void> {
  checkKeys("runWorker()", options, OPTION_KEYS);
  return workWith(options, answerOrder);
}

/** runWorker() with other answers: tests and simulations of many hosts only answer. */
export async function workWith(options: WorkerOptions, answer: AnswerOrder): Promise<void> {
  const { name = defaultHostName(), report = () => {}, signal } = options;
  if (!isHostName(name)) {
    const fix = "use lower-case letters, digits, dots, hyphens and underscores, at most 63";
    throw invalidArgument("ERR_INVALID_HOST", `"${name}" is not a host's name: ${fix}`);
  }
  await using connection = await openConnection(options.queue, (text) => report({ kind: "trouble", text }));
  await using host = new HostWorker(connection, { ...options, name, report }, answer);
  await host.begin();
  while (!signal?.aborted) {
    await sleep(ANNOUNCE_EVERY_MS, undefined, { ...(signal && { signal }) }).catch(() => undefined);
    if (!signal?.aborted) await host.announce();
  }
}

type HostOptions = WorkerOptions &
  Required<Pick<WorkerOptions, "name" | "report">> & {
    /** How long an idle worker waits at a time; simulated ones share a processor. */
    readonly drainSeconds?: number;
  };

/**
 * A worker of BullMQ, and what it announces.
 *
 * @internal
 */
export class HostWorker implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #options: HostOptions;
  readonly #answer: AnswerOrder;
  readonly #announcement: Announcement = ownAnnouncement(randomUUID());
  /** Ends the guest of an order when the worker is told to end at once. */
  readonly #ending = new AbortController();
  #worker: Worker | null = null;
  /** The queue of the run that asked last. */
  #answers: Queue | null = null;

  constructor(connection: Connection, options: HostOptions, answer: AnswerOrder) {
    this.#connection = connection;
    this.#options = options;
    this.#answer = answer;
  }

  /** Rejects when another host has announced itself by this name a moment ago. */
  async begin(): Promise<void> {
    const { name, report, stalledMs = STALLED_MS, drainSeconds = DRAIN_SECONDS } = this.#options;
    const { bullmq, base, redis } = this.#connection;
    const other = await readHost(redis, name);
    if (other && other.silentMs < SILENT_MS && other.announcement.boot !== this.#announcement.boot) {
      throw new Error(`another host has the name ${name}: give this one another with --name`);
    }
    await this.announce();
    const worker = new bullmq.Worker(hostQueue(name), (job: Job) => this.#process(job), {
      ...base,
      ...REMOVED,
      lockDuration: stalledMs,
      stalledInterval: stalledMs,
      maxStalledCount: MOST_STARTS - 1,
      drainDelay: drainSeconds,
      concurrency: 1,
      metrics: { maxDataPoints: 0 },
    });
    worker.on("error", ({ message }) => report({ kind: "trouble", text: message }));
    worker.on("failed", (job, { message }) => void this.#handleFailed(job, message));
    this.#worker = worker;
    await worker.waitUntilReady();
    report({ kind: "listening", text: `${name} takes orders` });
  }

  async announce(): Promise<void> {
    await announce(this.#connection.redis, this.#options.name, this.#announcement);
  }

  /** Ends at once, without an answer: another worker takes the order again. */
  async kill(): Promise<void> {
    this.#ending.abort();
    await this.#worker?.close(true);
  }

  /** Ends after the order that is being answered. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.close();
    await this.#answers?.close();
    this.#ending.abort();
    if (this.#connection.redis.status === "ready")
      await leave(this.#connection.redis, this.#options.name, this.#announcement).catch(() => undefined);
  }

  async #process(job: Job): Promise<null> {
    const { report, name } = this.#options;
    const order = this.#check(job);
    const cell = cellOf(order);
    if ((await this.#connection.redis.exists(askingKey(order.run))) === 0) {
      // Whoever asked has ended: the order is of no use to anybody.
      report({ kind: "dropped", text: `${cell}: nobody waits for run ${order.run}` });
      return null;
    }
    const version = packageVersion();
    const reply: Reply =
      order.version === version
        ? await this.#answer(order, this.#ending.signal)
        : { kind: "refused", why: `its worker is selfconnect ${version}, the lab is ${order.version}` };
    await this.#send(order, reply);
    report({ kind: reply.kind === "refused" ? "refused" : "answered", text: `${cell} for ${name}` });
    return null;
  }

  /** Throws what BullMQ does not try again. */
  #check(job: Job): Order {
    try {
      const names = EXPERIMENTS.map(({ name }) => name);
      return checkOrder(job.data, names);
    } catch (error) {
      throw new this.#connection.bullmq.UnrecoverableError((error as Error).message);
    }
  }

  /** BullMQ adds no second job of an id: an answer that was sent, but not confirmed to the queue, is sent once. */
  async #send(order: Order, reply: Reply): Promise<void> {
    const { name: host } = this.#options;
    const cell = cellOf(order);
    const answers = await this.#answersOf(order.run);
    await answers.add("answer", { host, cell, reply }, { jobId: jobId(order.run, host, cell) });
  }

  /** Kept for the next order, which is of the same run but for the last. */
  async #answersOf(run: string): Promise<Queue> {
    const { bullmq, base } = this.#connection;
    const name = runQueue(run);
    if (this.#answers?.name === name) return this.#answers;
    await this.#answers?.close();
    this.#answers = new bullmq.Queue(name, { ...base, streams: { events: { maxLen: MOST_EVENTS } } });
    return this.#answers;
  }

  /** Answers an order that ended its worker twice. One that was refused by its form has nobody to answer to. */
  async #handleFailed(job: Job | undefined, message: string): Promise<void> {
    const { report } = this.#options;
    report({ kind: "refused", text: message });
    try {
      if (job?.deferredFailure === undefined) return;
      const why = `its worker ended ${MOST_STARTS} times in this question`;
      await this.#send(this.#check(job), { kind: "refused", why });
    } catch (error) {
      report({ kind: "trouble", text: (error as Error).message });
    }
  }
}

/** Exists while somebody waits for the answers of a run. */
export function askingKey(run: string): string {
  return `${PREFIX}:asking:${run}`;
}
