/** Parsers that several commands share: numbers, durations, addresses. */
import dns from "node:dns/promises";
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import type { Address, HostAndPort } from "../index.ts";
import { parseAddress, parseHostAndPort } from "../index.ts";

/** The address of the article that this package started from. */
export const DEFAULT_PEER = "127.0.0.1:50000";

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

export function parseCount(text: string): number {
  const count = Number(text.replaceAll(/[_,]/g, ""));
  if (/^[\d_,]+$/.test(text) && Number.isSafeInteger(count) && count > 0) return count;
  throw new InvalidArgumentError("Use a whole number above 0.");
}

export function parsePort(text: string): number {
  const port = Number(text.replace(/^:/, ""));
  if (/^:?\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new InvalidArgumentError("Use a port, 1 to 65535.");
}

/** Every option that takes several values has them in one argument, "a,b", or is given several times. */
export function parseList(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(",").filter(Boolean)];
}

/** Like parseList(). */
export function parsePorts(text: string, before: readonly number[] = []): number[] {
  const ports = parseList(text).map(parsePort);
  if (ports.length === 0) throw new InvalidArgumentError("Use a port, 1 to 65535, or several: 80,81.");
  return [...before, ...ports];
}

export function parseRate(text: string): number {
  const rate = Number(text);
  if (Number.isFinite(rate) && rate > 0) return rate;
  throw new InvalidArgumentError("Use a number of attempts per second above 0.");
}

export function parseDurationMs(text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  const durationMs = Math.round(Number(amount) * (UNITS_MS[unit ?? ""] ?? Number.NaN));
  if (durationMs > 0 && durationMs < 2 ** 31) return durationMs;
  throw new InvalidArgumentError(
    'Use a time above 0 with its unit, as in "500ms", "10s", "2m" or "1h", at most 24 days.',
  );
}

/** Every command that connects takes these forms, for help texts. */
export const PEER_FORMS = 'where to connect: "127.0.0.1:80", "[::1]:80", "host:80", ":80", "redis://host"';

/** Where a value was left out the next option is taken for it: --html --json would write a file "--json". */
export function refuseOptionsAsValues(command: Command): void {
  for (const option of command.options) {
    const value: unknown = command.getOptionValue(option.attributeName());
    const taken = command.options.find(({ long }) => long !== undefined && long === value);
    if (taken)
      command.error(`error: option '${option.flags}' got no value: ${taken.long} is an option of its own`);
  }
}

/** A name with a port, which resolveNames() replaces before a command runs. */
class NamedPeer {
  readonly host: string;
  readonly port: number;

  constructor({ host, port }: HostAndPort) {
    this.host = host;
    this.port = port;
  }
}

/** Parses any form of dial(). A command never gets a name: resolveNames() runs before it. */
export function parsePeer(text: string): Address | NamedPeer {
  try {
    const found = parseHostAndPort(text);
    const isName = found.host.toLowerCase() !== "localhost" && /^[^:%]*[a-z_][^:%]*$/i.test(found.host);
    return isName ? new NamedPeer(found) : parseAddress(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** Looks up the names among the arguments and options of a command, and replaces each by its first address. */
export async function resolveNames(command: Command): Promise<void> {
  if (command.opts().on !== undefined) return; // The hosts look them up.
  for (const [index, value] of command.processedArgs.entries()) {
    if (hasName(value)) command.processedArgs[index] = await resolveValue(value);
  }
  for (const [name, value] of Object.entries(command.opts())) {
    if (hasName(value)) command.setOptionValue(name, await resolveValue(value));
  }
}

function hasName(value: unknown): boolean {
  return Array.isArray(value) ? value.some(hasName) : value instanceof NamedPeer;
}

async function resolveValue(value: unknown): Promise<unknown> {
  if (Array.isArray(value)) return Promise.all(value.map(resolveValue));
  return value instanceof NamedPeer ? resolveName(value) : value;
}

async function resolveName({ host, port }: NamedPeer): Promise<Address> {
  const { address, family } = await dns.lookup(host);
  return { family: family === 6 ? 6 : 4, host: address, port };
}

/** Parses a port, with or without a colon, or an address with a port. */
export function parseTarget(text: string): number | Address | NamedPeer {
  const [, digits] = /^:?(\d+)$/.exec(text) ?? [];
  if (digits !== undefined) return parsePort(digits);
  const address = parsePeer(text);
  if (address.port > 0) return address;
  throw new InvalidArgumentError("Use a port, 1 to 65535.");
}

/** Parses several ports or addresses, like parseList(). */
export function parseTargets(
  text: string,
  before: readonly (number | Address | NamedPeer)[] = [],
): (number | Address | NamedPeer)[] {
  const targets = parseList(text).map(parseTarget);
  if (targets.length > 0) return [...before, ...targets];
  throw new InvalidArgumentError('Use a port or an address, or several: "80,127.0.0.1:81".');
}
