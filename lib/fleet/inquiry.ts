/** Asks many hosts through the queue, and takes each answer once: of every cell, whoever is killed meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import type { FlowJob, Job, Worker } from "bullmq";
import type { Connection } from "./connection.ts";
import type { Answer, Order, Reply } from "./order.ts";
import { cellOf, checkAnswer, hostQueue, jobId, runQueue } from "./order.ts";
import { askingKey } from "./worker.ts";

/** One order to one host. */
export interface Cell {
  readonly host: string;
  readonly order: Order;
}

/** What an inquiry does with the answers, and how long it waits. */
export interface InquiryOptions {
  readonly run: string;
  /** Keeps an answer, in memory. */
  readonly take: (host: string, order: Order, reply: Reply) => void;
  /** Saves what was taken. An answer leaves Redis only after that. */
  readonly save: () => void;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

/** A cell without an answer at the end, and why. */
export interface Unanswered extends Cell {
  readonly why: string;
}

/** Whoever asks gives a sign this often; workers drop its orders when there was none for three times as long. */
const SIGN_EVERY_MS = 10_000;
const SIGN_LASTS_MS = 3 * SIGN_EVERY_MS;
/** Answers that may wait for a save. */
const AT_ONCE = 1_000;
const ORDERS_AT_ONCE = 500;
/** The least time between two saves; a save that takes long is made less often. */
const SAVE_EVERY_MS = 250;
const SAVE_SHARE = 10;
/** How often whoever asks may be killed and resume. */
const MOST_RESUMES = 1_000;
/** How long a connection that breaks at the very end is waited for. */
const CLOSE_MS = 3_000;

/** Asks the cells, and returns those without an answer: at the deadline, or when the signal aborts. */
export async function ask(
  connection: Connection,
  cells: readonly Cell[],
  options: InquiryOptions,
): Promise<Unanswered[]> {
  await using inquiry = new Inquiry(connection, cells, options);
  return await inquiry.run(); // Disposed of after its end.
}

class Inquiry implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #options: InquiryOptions;
  readonly #open: Map<string, Cell>;
  readonly #ended = new AbortController();
  readonly #saves: Saves;
  #worker: Worker | null = null;
  /** Why the inquiry cannot go on: no answer can be saved, or Redis refuses the orders. */
  #failure: Error | null = null;

  constructor(connection: Connection, cells: readonly Cell[], options: InquiryOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#open = new Map(cells.map((cell) => [keyOf(cell.host, cellOf(cell.order)), cell]));
    this.#saves = new Saves(options.save);
  }

  async run(): Promise<Unanswered[]> {
    if (this.#open.size === 0) return [];
    const { redis } = this.#connection;
    const { deadlineMs, signal } = this.#options;
    const end = AbortSignal.any([
      AbortSignal.timeout(deadlineMs),
      this.#ended.signal,
      ...(signal ? [signal] : []),
    ]);
    // Not awaited: they wait while Redis is away, and the deadline does not.
    const begin = () => {
      this.#sign();
      this.#order().catch((error: Error) => this.#fail(error));
    };
    // Redis may come back without the last orders: adding one that it still has changes nothing.
    redis.on("ready", begin);
    try {
      begin();
      this.#receiveAnswers();
      while (!end.aborted) {
        await sleep(SIGN_EVERY_MS, undefined, { signal: end }).catch(() => undefined);
        if (!end.aborted) this.#sign();
      }
    } finally {
      redis.off("ready", begin);
    }
    this.#saves.finish();
    await this.#closeWorker();
    if (this.#failure) throw this.#failure;
    return this.#open.size === 0 ? [] : this.#describeOpen(signal?.aborted === true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closeWorker();
    if (this.#connection.redis.status !== "ready") return;
    await this.#withdraw().catch(() => undefined);
  }

  /** Waits for answers that are being taken, unless Redis is away. */
  async #closeWorker(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    if (!worker) return;
    const isReady = this.#connection.redis.status === "ready";
    await Promise.race([worker.close(!isReady), sleep(CLOSE_MS, undefined, { ref: false })]);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#ended.abort();
  }

  #sign(): void {
    this.#connection.redis
      .set(askingKey(this.#options.run), "1", "PX", SIGN_LASTS_MS)
      .catch((error: Error) => this.#fail(error));
  }

  async #order(): Promise<void> {
    const { bullmq, base } = this.#connection;
    const flow = new bullmq.FlowProducer(base);
    try {
      const jobs = [...this.#open.values()].map((cell) => this.#jobOf(cell));
      for (let at = 0; at < jobs.length && !this.#ended.signal.aborted; at += ORDERS_AT_ONCE)
        await flow.addBulk(jobs.slice(at, at + ORDERS_AT_ONCE));
    } finally {
      await flow.close();
    }
  }

  #jobOf({ host, order }: Cell): FlowJob {
    const removed = { removeOnComplete: true, removeOnFail: true };
    const opts = { jobId: jobId(this.#options.run, host, cellOf(order)), ...removed };
    return { name: order.kind, queueName: hostQueue(host), data: order, opts };
  }

  #receiveAnswers(): void {
    const { bullmq, base } = this.#connection;
    const worker = new bullmq.Worker(runQueue(this.#options.run), (job: Job) => this.#receive(job), {
      ...base,
      concurrency: AT_ONCE,
      maxStalledCount: MOST_RESUMES,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
      metrics: { maxDataPoints: 0 },
    });
    // The connection reports its own trouble.
    worker.on("error", () => {});
    this.#worker = worker;
  }

  /** What is no answer to an open cell is dropped: a worker may have answered twice, or lie. */
  async #receive(job: Job): Promise<null> {
    const answer = this.#read(job.data);
    if (!answer) return null;
    const key = keyOf(answer.host, answer.cell);
    const cell = this.#open.get(key);
    if (!cell) return null;
    this.#options.take(cell.host, cell.order, answer.reply);
    this.#open.delete(key);
    await this.#saves.next().catch((error: Error) => this.#fail(error));
    if (this.#open.size === 0) this.#ended.abort();
    return null;
  }

  /** Of a kind that the order asked for, or refused. */
  #read(data: unknown): Answer | null {
    try {
      const answer = checkAnswer(data);
      const { order } = this.#open.get(keyOf(answer.host, answer.cell)) ?? {};
      const { reply } = answer;
      if (!order) return null;
      const isFinding = reply.kind === "finding" && order.kind === "experiment";
      if (isFinding && reply.finding.experiment !== order.experiment) return null;
      return reply.kind === "refused" || isFinding || reply.kind === order.kind ? answer : null;
    } catch {
      return null;
    }
  }

  async #describeOpen(isInterrupted: boolean): Promise<Unanswered[]> {
    const seconds = this.#options.deadlineMs / 1000;
    const described: Unanswered[] = [];
    for (const cell of this.#open.values()) {
      const id = jobId(this.#options.run, cell.host, cellOf(cell.order));
      // LPOS would be slow for long queues; the lock exists while a worker has the job.
      const isTaken = await this.#connection.redis
        .exists(`${this.#connection.base.prefix}:${hostQueue(cell.host)}:${id}:lock`)
        .catch(() => 0);
      const why = isTaken
        ? `its worker took it, and did not answer within ${seconds} s`
        : `no worker took it within ${seconds} s`;
      described.push({ ...cell, why: isInterrupted ? "interrupted" : why });
    }
    return described;
  }

  /** Removes what is left in Redis: orders that nobody waits for, and the queue of the answers. */
  async #withdraw(): Promise<void> {
    const { bullmq, base, redis } = this.#connection;
    const { run } = this.#options;
    await redis.del(askingKey(run));
    const hosts = new Map<string, string[]>();
    for (const { host, order } of this.#open.values())
      hosts.set(host, [...(hosts.get(host) ?? []), jobId(run, host, cellOf(order))]);
    for (const [host, ids] of hosts) {
      const queue = new bullmq.Queue(hostQueue(host), base);
      for (const id of ids) await queue.remove(id).catch(() => 0);
      await queue.close();
    }
    const answers = new bullmq.Queue(runQueue(run), base);
    await answers.obliterate({ force: true });
    await answers.close();
  }
}

/** Saves at most so often that saving takes a tenth of the time. */
class Saves {
  readonly #save: () => void;
  #timer: NodeJS.Timeout | undefined;
  #waiting: PromiseWithResolvers | null = null;
  #tookMs = 0;

  constructor(save: () => void) {
    this.#save = save;
  }

  /** Resolves after the next save. */
  next(): Promise<void> {
    this.#waiting ??= withResolvers();
    this.#timer ??= setTimeout(() => this.#run(), Math.max(SAVE_EVERY_MS, this.#tookMs * SAVE_SHARE));
    return this.#waiting.promise;
  }

  /** Saves at once what waits. */
  finish(): void {
    if (this.#timer !== undefined) this.#run();
  }

  #run(): void {
    clearTimeout(this.#timer);
    const { resolve, reject } = this.#waiting!;
    this.#timer = undefined;
    this.#waiting = null;
    const startedAt = performance.now();
    try {
      this.#save();
      resolve();
    } catch (error) {
      reject(error);
    }
    this.#tookMs = performance.now() - startedAt;
  }
}

interface PromiseWithResolvers {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** Node 20 has no Promise.withResolvers(). */
function withResolvers(): PromiseWithResolvers {
  let [resolve, reject]: [() => void, (reason: unknown) => void] = [() => {}, () => {}];
  const promise = new Promise<void>((one, other) => {
    resolve = one;
    reject = other;
  });
  return { promise, resolve, reject };
}

function keyOf(host: string, cell: string): string {
  return `${host}\n${cell}`;
}
