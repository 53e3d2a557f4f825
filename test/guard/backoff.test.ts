/** What is a backoff, and what is none. */
import { describe, expect, it } from "vitest";
import type { Backoff } from "../../lib/guard/backoff.ts";
import { checkBackoff, delayMs } from "../../lib/guard/backoff.ts";

const LONGEST_MS = 2 ** 31 - 1;
const fixed = (delayMs: unknown) => ({ kind: "fixed", delayMs }) as Backoff;
const exponential = (firstMs: unknown, mostMs: unknown, jitter?: unknown) =>
  ({ kind: "exponential", firstMs, mostMs, ...(jitter !== undefined && { jitter }) }) as Backoff;

describe("checkBackoff", () => {
  it.each([
    undefined,
    fixed(0),
    fixed(LONGEST_MS),
    exponential(0, 0),
    exponential(1, LONGEST_MS),
    exponential(LONGEST_MS, 1, 0),
    exponential(1, 2, 1),
    exponential(1, 2, 0.5),
  ])("takes %o", (backoff) => {
    expect(() => checkBackoff(backoff)).not.toThrow();
  });

  it.each([
    fixed(-1),
    fixed(LONGEST_MS + 1),
    fixed("5"),
    fixed(undefined),
    fixed(Number.NaN),
    exponential(-1, 2),
    exponential(1, -2),
    exponential("1", 2),
    exponential(1, "2"),
    exponential(1, LONGEST_MS + 1),
    exponential(1, 2, -0.1),
    exponential(1, 2, 1.1),
    exponential(1, 2, Number.NaN),
    { kind: "linear", delayMs: 5 } as never,
    { kind: "linear", firstMs: 1, mostMs: 2 } as never,
    { kind: "exponential", delayMs: 5 } as never,
    { kind: "fixed", firstMs: 1, mostMs: 2 } as never,
  ])("refuses %o", (backoff) => {
    expect(() => checkBackoff(backoff)).toThrow(expect.objectContaining({ code: "ERR_INVALID_BACKOFF" }));
  });
});

it("a wait of jitter takes a random part of its own", () => {
  const backoff = exponential(1000, 1000);
  const waits = new Set(Array.from({ length: 20 }, () => delayMs(backoff, 1)));
  expect(waits.size).toBeGreaterThan(1);
  for (const wait of waits) expect(wait).toBeGreaterThanOrEqual(0);
  for (const wait of waits) expect(wait).toBeLessThanOrEqual(1000);
});
