/** Parsers that several commands share: numbers, durations, addresses. */
import { InvalidArgumentError } from "commander";
import type { Address } from "../index.ts";
import { parseAddress } from "../index.ts";

/** The address of the article that this package started from. */
export const DEFAULT_PEER = "127.0.0.1:50000";

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

export function parseCount(text: string): number {
  const count = Number(text.replaceAll(/[_,]/g, ""));
  if (/^[\d_,]+$/.test(text) && Number.isSafeInteger(count) && count > 0) return count;
  throw new InvalidArgumentError("Use a whole number above 0.");
}

export function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new InvalidArgumentError("Use a port, 1 to 65535.");
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

export function parsePeer(text: string): Address {
  try {
    return parseAddress(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** Parses a port or an address with a port. */
export function parseTarget(text: string): number | Address {
  if (/^\d+$/.test(text)) return parsePort(text);
  const address = parsePeer(text);
  if (address.port > 0) return address;
  throw new InvalidArgumentError("Use a port, 1 to 65535.");
}
