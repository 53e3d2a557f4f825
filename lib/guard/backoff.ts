/** How long to wait between attempts. */
import { invalidArgument, LONGEST_WAIT_MS } from "../socket/misuse.ts";

/** "exponential" doubles from `firstMs` up to `mostMs`; each wait is a random part of that unless `jitter` is set. */
export type Backoff =
  | { readonly kind: "fixed"; readonly delayMs: number }
  | {
      readonly kind: "exponential";
      readonly firstMs: number;
      readonly mostMs: number;
      /** The random part of the wait: 0 is none of it, 1 (the default) is all of it, which spreads clients best. */
      readonly jitter?: number;
    };

/** The backoff of `retryOn` where none is given: without one, a service that is down would get a flood. */
export const DEFAULT_BACKOFF: Backoff = { kind: "exponential", firstMs: 100, mostMs: 2000, jitter: 0.5 };

/** Throws ERR_INVALID_BACKOFF unless the value is a backoff or undefined. */
export function checkBackoff(backoff: Backoff | undefined): void {
  if (backoff === undefined) return;
  if (backoff.kind === "fixed" && isTime(backoff.delayMs)) return;
  if (backoff.kind === "exponential" && isTime(backoff.firstMs) && isTime(backoff.mostMs)) {
    const { jitter = 1 } = backoff;
    if (jitter >= 0 && jitter <= 1) return;
  }
  const forms = '{ kind: "fixed", delayMs } or { kind: "exponential", firstMs, mostMs, jitter: 0 to 1 }';
  throw invalidArgument("ERR_INVALID_BACKOFF", `${JSON.stringify(backoff)} is not a backoff: use ${forms}`);
}

/** The wait in milliseconds after `made` attempts; 0 without a backoff. `random` is from 0 to 1. */
export function delayMs(backoff: Backoff | undefined, made: number, random = Math.random()): number {
  if (!backoff) return 0;
  if (backoff.kind === "fixed") return backoff.delayMs;
  const fullMs = Math.min(backoff.mostMs, backoff.firstMs * 2 ** (made - 1));
  return fullMs * (1 - (backoff.jitter ?? 1) * random);
}

function isTime(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= LONGEST_WAIT_MS;
}
