/** Which hosts have a worker: each announces itself, and is forgotten a week after its last sign. */
import { readFileSync } from "node:fs";
import os from "node:os";
import type { Redis } from "ioredis";
import { packageVersion } from "../kernel/version.ts";
import { record, text } from "../lab/transcript.ts";
import { PREFIX } from "./connection.ts";
import { isHostName } from "./order.ts";

/** What a worker says about its host. */
export interface Announcement {
  /** The version of the worker's package. */
  readonly version: string;
  /** uname(2): the release. */
  readonly kernel: string;
  /** process.arch there: "x64". */
  readonly architecture: string;
  /** process.version there. */
  readonly node: string;
  /** Of the boot of its kernel: two hosts of one name have two. */
  readonly boot: string;
  /** Of this worker: a host's next worker has another. */
  readonly worker: string;
}

/** A host that has a worker, or had one in the last week. */
export interface FleetHost {
  /** Its name, which no other host of the queue has. */
  readonly name: string;
  /** What its latest worker said. */
  readonly announcement: Announcement;
  /** How long ago its worker gave a sign, by the clock of Redis. */
  readonly silentMs: number;
}

const HOSTS = `${PREFIX}:hosts`;
const FORGOTTEN_MS = 7 * 24 * 3_600_000;
/** How often a worker announces itself. */
export const ANNOUNCE_EVERY_MS = 30_000;
/** A worker that was silent for this long is taken for dead. */
export const SILENT_MS = 100_000;
const BATCH = 500;
const MOST_HOSTS = 100_000;
/** Deletes the announcement of one worker, unless the host's next worker has replaced it. */
const LEAVE = `
if redis.call("GET", KEYS[1]) == ARGV[1] then
  redis.call("DEL", KEYS[1])
  redis.call("SREM", KEYS[2], ARGV[2])
end
return 0`;

/** The name under which a host announces itself unless another is given. */
export function defaultHostName(): string {
  const name = os.hostname().toLowerCase();
  return name
    .replaceAll(/[^a-z0-9._-]/g, "-")
    .replace(/^[^a-z0-9]+/, "")
    .slice(0, 63);
}

/** What this process says about its host. */
export function ownAnnouncement(worker: string): Announcement {
  const { version: node, arch: architecture } = process;
  return { version: packageVersion(), kernel: os.release(), architecture, node, boot: readBoot(), worker };
}

/** random(4), /proc/sys/kernel/random/boot_id; elsewhere the moment of the boot would differ by rounding. */
function readBoot(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return os.hostname();
  }
}

/**
 * The latest announcement under a name; null where there is none, or none that can be read.
 *
 * @internal
 */
export async function readHost(redis: Redis, name: string): Promise<FleetHost | null> {
  const [host] = await readHosts(redis, [name]);
  return host ?? null;
}

/**
 * Writes an announcement, which Redis keeps for a week.
 *
 * @internal
 */
export async function announce(redis: Redis, name: string, announcement: Announcement): Promise<void> {
  await redis
    .multi()
    .sadd(HOSTS, name)
    .set(keyOf(name), JSON.stringify(announcement), "PX", FORGOTTEN_MS)
    .exec();
}

/**
 * Removes a host whose worker ends.
 *
 * @internal
 */
export async function leave(redis: Redis, name: string, announcement: Announcement): Promise<void> {
  await redis.eval(LEAVE, 2, keyOf(name), HOSTS, JSON.stringify(announcement), name);
}

/**
 * All hosts whose names match one of the patterns ("web-*", "db?"), sorted by name; without patterns all.
 *
 * @internal
 */
export async function listHosts(redis: Redis, patterns?: readonly string[]): Promise<FleetHost[]> {
  const isWanted = matcher(patterns);
  const names = new Set<string>();
  let cursor = "0";
  do {
    const [next, found] = await redis.sscan(HOSTS, cursor, "COUNT", 1000);
    cursor = next;
    for (const name of found) if (isHostName(name) && isWanted(name)) names.add(name);
    if (names.size > MOST_HOSTS) throw new Error(`more than ${MOST_HOSTS} hosts match: use --hosts`);
  } while (cursor !== "0");
  const sorted = [...names].sort();
  const hosts: FleetHost[] = [];
  for (let at = 0; at < sorted.length; at += BATCH)
    hosts.push(...(await readHosts(redis, sorted.slice(at, at + BATCH))));
  return hosts;
}

async function readHosts(redis: Redis, names: readonly string[]): Promise<FleetHost[]> {
  const pipeline = redis.pipeline();
  for (const name of names) pipeline.get(keyOf(name)).pttl(keyOf(name));
  const answers = (await pipeline.exec()) ?? [];
  return names.flatMap((name, at) => {
    const [, said] = answers[2 * at] ?? [];
    const [, leftMs] = answers[2 * at + 1] ?? [];
    const announcement = parseAnnouncement(said);
    if (!announcement || typeof leftMs !== "number") return [];
    return [{ name, announcement, silentMs: Math.max(0, FORGOTTEN_MS - leftMs) }];
  });
}

function parseAnnouncement(said: unknown): Announcement | null {
  try {
    const given = record(JSON.parse(String(said)), "an announcement");
    const field = (name: keyof Announcement) => text(given[name], name);
    const [version, kernel, architecture] = [field("version"), field("kernel"), field("architecture")];
    return {
      version,
      kernel,
      architecture,
      node: field("node"),
      boot: field("boot"),
      worker: field("worker"),
    };
  } catch {
    return null;
  }
}

function keyOf(name: string): string {
  return `${PREFIX}:worker:${name}`;
}

/** "*" is any text, "?" any character. */
function matcher(patterns: readonly string[] | undefined): (name: string) => boolean {
  if (!patterns || patterns.length === 0) return () => true;
  const tests = patterns.map((pattern) => {
    const plain = pattern.replaceAll(/[.+^${}()|[\]\\]/g, "\\$&");
    return new RegExp(`^${plain.replaceAll(/\*+/g, ".*").replaceAll("?", ".")}$`);
  });
  return (name) => tests.some((test) => test.test(name));
}
