/** Connects to Redis. BullMQ and ioredis are optional peers: they are loaded when a queue is used, and not before. */
import type * as BullMQ from "bullmq";
import type * as IORedis from "ioredis";
import { hidePassword, parseQueueUrl } from "./queue-url.ts";

/** All keys begin with this word, for ACLs: `~selfconnect:*`. */
export const PREFIX = "selfconnect";
const CONNECT_MS = 30_000;
const MOST_PAUSE_MS = 5_000;

/** A connection, and BullMQ. */
export interface Connection extends AsyncDisposable {
  readonly bullmq: typeof BullMQ;
  readonly redis: IORedis.Redis;
  /** What every queue and worker of BullMQ is given. */
  readonly base: {
    readonly connection: IORedis.Redis;
    readonly prefix: string;
    readonly skipVersionCheck: true;
  };
}

/**
 * Opens a connection to the queue's Redis. Rejects when the first attempt fails; a connection that breaks later is
 * opened again for as long as it takes, which `onTrouble` is told.
 */
export async function openConnection(
  queue: string,
  onTrouble: (message: string) => void = () => {},
): Promise<Connection> {
  const { url, options } = parseQueueUrl(queue);
  const { bullmq, ioredis } = await loadPeers();
  let wasReady = false;
  const all = {
    ...options,
    lazyConnect: true,
    connectTimeout: CONNECT_MS,
    maxRetriesPerRequest: null,
    retryStrategy: (times: number) => (wasReady ? Math.min(times * 200, MOST_PAUSE_MS) : null),
  };
  const redis = url === null ? new ioredis.Redis(all) : new ioredis.Redis(url, all);
  let trouble: Error | null = null;
  redis.on("error", (error: Error) => {
    trouble = error;
    if (wasReady) onTrouble(hidePassword(error.message));
  });
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    redis.disconnect();
    const { message } = trouble ?? (error as Error);
    throw new Error(`${hidePassword(queue)}: ${hidePassword(message)}`);
  }
  wasReady = true;
  // BullMQ's copies of it connect for as long as it takes; with this option one failed attempt would end them.
  redis.options.lazyConnect = false;
  const base = { connection: redis, prefix: PREFIX, skipVersionCheck: true } as const;
  return { bullmq, redis, base, [Symbol.asyncDispose]: () => closeRedis(redis) };
}

async function closeRedis(redis: IORedis.Redis): Promise<void> {
  // QUIT waits for a server that is away.
  if (redis.status === "ready") await redis.quit().catch(() => undefined);
  redis.disconnect();
}

async function loadPeers(): Promise<{ bullmq: typeof BullMQ; ioredis: Pick<typeof IORedis, "Redis"> }> {
  try {
    const [bullmq, ioredis] = await Promise.all([import("bullmq"), import("ioredis")]);
    return { bullmq, ioredis };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new Error("a queue needs two packages that are not installed here: npm install bullmq ioredis");
  }
}
