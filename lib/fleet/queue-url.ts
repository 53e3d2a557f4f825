/** The address of a queue: which forms it takes, and how it is shown without its password. */
import { invalidArgument } from "../socket/misuse.ts";

const PROTOCOLS = ["redis:", "rediss:", "unix:"];
const FORMS = "redis://host:6379, rediss://user:password@host:6380/0 or unix:///run/redis.sock?db=0";

/** What ioredis takes: an address, or the path of a socket with the rest of the URL as options. */
export interface RedisAddress {
  /** Null for a socket of the file system. */
  readonly url: string | null;
  readonly options: {
    readonly path?: string;
    readonly username?: string;
    readonly password?: string;
    readonly db?: number;
  };
}

/** Parses the address of a queue. Throws ERR_INVALID_QUEUE, whose message has no password. */
export function parseQueueUrl(text: string): RedisAddress {
  const url = typeof text === "string" && URL.canParse(text) ? new URL(text) : null;
  if (!url || !PROTOCOLS.includes(url.protocol)) {
    const shown = url ? `${url.protocol}//…` : "this text";
    throw invalidArgument("ERR_INVALID_QUEUE", `${shown} is not the address of a queue: use ${FORMS}`);
  }
  if (url.protocol !== "unix:") return { url: text, options: {} };
  const { pathname, searchParams } = url;
  const db = Number(searchParams.get("db") ?? 0);
  if (!Number.isInteger(db) || db < 0 || pathname.length < 2)
    throw invalidArgument("ERR_INVALID_QUEUE", `${hidePassword(text)} names no socket: use ${FORMS}`);
  const [username, password] = ["username", "password"].map((name) => searchParams.get(name));
  const access = { ...(username && { username }), ...(password && { password }) };
  return { url: null, options: { path: decodeURIComponent(pathname), db, ...access } };
}

/** Replaces the password of every URL in a text by "***", in the query too, where ioredis also takes one. */
export function hidePassword(text: string): string {
  if (typeof text !== "string") throw invalidArgument("ERR_INVALID_ARGUMENT", "hidePassword() takes a text");
  return text
    .replaceAll(/\b(rediss?:\/\/[^:@/\s]*):[^\s]*@/g, "$1:***@")
    .replaceAll(/([?&]password=)[^&\s]*/gi, "$1***");
}
