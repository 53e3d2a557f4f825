/** The forms in which people write where to connect: "127.0.0.1:80", "localhost:80", ":8080", "redis://cache". */
import { checkPort, hostBytes } from "./address-text.ts";
import { invalidArgument } from "./misuse.ts";

/** Where to connect. `host` is a numeric address, with its scope, or a name. */
export interface HostAndPort {
  /** A name or an IP address, without brackets. */
  readonly host: string;
  /** The port, 0 to 65535. */
  readonly port: number;
}

/** The ports of the schemes whose addresses are commonly written without one (IANA, or the server's default). */
const SCHEME_PORTS: Readonly<Record<string, number>> = {
  ...{ http: 80, https: 443, ws: 80, wss: 443, ftp: 21, ssh: 22, sftp: 22, smtp: 25, smtps: 465, ldap: 389 },
  ...{ ldaps: 636, imap: 143, imaps: 993, redis: 6379, rediss: 6379, postgres: 5432, postgresql: 5432 },
  ...{ mysql: 3306, mariadb: 3306, mongodb: 27_017, amqp: 5672, amqps: 5671, mqtt: 1883, mqtts: 8883 },
  ...{ nats: 4222, memcached: 11_211, kafka: 9092, clickhouse: 8123, elasticsearch: 9200, etcd: 2379 },
};

const NAME = /^[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?$/i;
/** Digits and dots, or hexadecimal: inet_aton(3) reads it as an IPv4 address, and it is no name. */
const NUMERIC = /^(?:[\d.]+|0x[\da-f.]*)$/i;

/**
 * Parses "127.0.0.1:80", "[::1%lo]:80" or "localhost:80"; ":8080" and "8080", which are localhost; and URLs such as
 * "http://host:8080/path" or "redis://cache", whose scheme gives the port. Resolves no name. Throws
 * ERR_INVALID_ADDRESS or ERR_INVALID_PORT, with what to write instead, and never with the password of a URL.
 */
export function parseHostAndPort(text: string): HostAndPort {
  if (typeof text !== "string") throw invalidArgument("ERR_INVALID_ADDRESS", "this address is not a string");
  const [, scheme, rest] = /^([a-z][a-z\d+.-]*):\/\/(.*)$/is.exec(text) ?? [];
  if (scheme !== undefined) return parseUrl(text, scheme.toLowerCase(), rest!);
  if (/^\d+$/.test(text)) return { host: "localhost", port: parsePort(text, text) };
  return parsePlain(text, text);
}

/** Replaces the user and the password of a URL. */
export function hideCredentials(text: string): string {
  return text.replace(/^([a-z][a-z\d+.-]*:\/\/)[^/?#]*@/i, "$1***@");
}

function parseUrl(text: string, scheme: string, rest: string): HostAndPort {
  const authority = /^[^/?#]*/.exec(rest)![0].replace(/^.*@/s, "");
  const port = SCHEME_PORTS[scheme];
  if (authority === "" || authority.startsWith(":"))
    throw refuse(text, `has no host: write "${scheme}://host"`);
  if (/(?:^[^:]+|\])$/.test(authority)) {
    if (port === undefined) throw refuse(text, `has no port, and "${scheme}" no well-known one: add it`);
    return parsePlain(`${authority}:${port}`, text);
  }
  return parsePlain(authority, text);
}

function parsePlain(plain: string, text: string): HostAndPort {
  const bracketed = /^\[([^\]]*)\]:(.*)$/s.exec(plain);
  const [, host, port] = bracketed ?? /^([^:]*):([^:]*)$/s.exec(plain) ?? [];
  if (host === undefined) {
    const fix = plain.includes(":")
      ? 'write an IPv6 address in brackets, as in "[::1]:80"'
      : 'write "address:port", as in "127.0.0.1:80"';
    throw refuse(text, `is not an address with a port: ${fix}`);
  }
  const number = parsePort(port!, text);
  if (bracketed && !host.includes(":"))
    throw refuse(text, "only IPv6 addresses are written in brackets", ":");
  if (host === "" && plain === text) return { host: "localhost", port: number };
  checkHost(host, number, text);
  return { host, port: number };
}

/** Throws for a host that is neither an address nor a name. */
function checkHost(host: string, port: number, text: string): void {
  if (hostBytes(host.split("%")[0]!)) return;
  if (NUMERIC.test(host)) throw refuse(text, describeNumber(host, port));
  if (!NAME.test(host)) throw refuse(text, `"${host}" is neither an IP address nor a name`, ":");
}

/** What is wrong with digits that are no IPv4 address: "127.1" is short for one, and programs disagree on which. */
function describeNumber(host: string, port: number): string {
  const parts = host.split(".");
  const last = Number(parts.at(-1));
  const isShort = parts.every((part) => /^(?:0|[1-9]\d*)$/.test(part) && Number(part) <= 0xffffffff);
  const left = 4 - (parts.length - 1);
  const bytes = [...parts.slice(0, -1).map(Number), ...bytesOf(last, left)];
  if (parts.length < 4 && isShort && last < 256 ** left && bytes.every((byte) => byte < 256)) {
    const whole = bytes.join(".");
    return `has a short form of ${whole}, which not every program reads alike: write "${whole}:${port}"`;
  }
  return `"${host}" is not an IP address: use four numbers from 0 to 255 without leading zeros`;
}

function bytesOf(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor(value / 256 ** (count - 1 - i)) % 256);
}

function parsePort(port: string, text: string): number {
  if (!/^\d+$/.test(port)) {
    const message = `"${port}" in "${hideCredentials(text)}" is not a port: use a number, 0 to 65535`;
    throw invalidArgument("ERR_INVALID_PORT", message);
  }
  checkPort(Number(port));
  return Number(port);
}

function refuse(text: string, why: string, between = ""): TypeError | RangeError {
  return invalidArgument("ERR_INVALID_ADDRESS", `"${hideCredentials(text)}"${between} ${why}`);
}
