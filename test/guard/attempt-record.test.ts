/** The first and the last attempts of a dial, and how many there were. */
import { expect, it } from "vitest";
import { AttemptRecord, KEPT_ATTEMPTS } from "../../lib/guard/attempt-record.ts";
import type { Attempt } from "../../lib/socket/errors.ts";

const attempt = (elapsedMs: number, outcome: Attempt["outcome"] = "ECONNREFUSED"): Attempt => ({
  outcome,
  peer: { family: 4, host: "192.0.2.1", port: 1 },
  elapsedMs,
});
const listKept = (record: AttemptRecord) => record.list().map(({ elapsedMs }) => elapsedMs);

it("has no last attempt before the first", () => {
  const record = new AttemptRecord();
  expect(record).toMatchObject({ count: 0, selfConnects: 0, last: undefined });
  expect(record.list()).toEqual([]);
});

it("keeps the first and the last ones in order, and counts all", () => {
  const record = new AttemptRecord();
  for (let n = 1; n <= 3 * KEPT_ATTEMPTS; n++) {
    record.add(attempt(n));
    expect(record.count).toBe(n);
    expect(record.last!.elapsedMs).toBe(n);
    expect(record.list().at(-1)!.elapsedMs).toBe(n);
  }
  const firsts = Array.from({ length: KEPT_ATTEMPTS }, (_, i) => i + 1);
  expect(listKept(record)).toEqual([...firsts, ...firsts.map((n) => n + 2 * KEPT_ATTEMPTS)]);
});

it("counts the self-connects among them", () => {
  const record = new AttemptRecord();
  for (const outcome of ["self-connect", "ECONNREFUSED", "deadline", "self-connect"] as const)
    record.add(attempt(1, outcome));
  expect(record).toMatchObject({ count: 4, selfConnects: 2 });
});
