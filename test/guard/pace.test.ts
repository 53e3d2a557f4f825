/** How many connects are due, with a clock that the test sets. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Pace } from "../../lib/guard/pace.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

it("the first is due at once, and one more after each interval", () => {
  const pace = new Pace(100);
  expect(pace.due()).toBe(1);
  pace.take(1);
  expect(pace.due()).toBe(0);
  vi.advanceTimersByTime(9);
  expect(pace.due()).toBe(0);
  vi.advanceTimersByTime(1);
  expect(pace.due()).toBe(1);
  vi.advanceTimersByTime(20);
  expect(pace.due()).toBe(3);
  pace.take(2);
  expect(pace.due()).toBe(1);
});

it("waits until the next one is due, at least a millisecond and at most what a timer can", () => {
  const pace = new Pace(100);
  expect(pace.waitMs()).toBe(1);
  pace.take(3);
  expect(pace.waitMs()).toBe(30);
  vi.advanceTimersByTime(25.5);
  expect(pace.waitMs()).toBe(5);
  pace.take(10 ** 9);
  expect(pace.waitMs()).toBe(2 ** 31 - 1);
});

it("makes up for 50 ms of a stall, and for no more", () => {
  const pace = new Pace(100);
  vi.advanceTimersByTime(60_000);
  expect(pace.due()).toBe(6);
  pace.take(6);
  expect(pace.due()).toBe(0);
});

it("without a pace any number is due", () => {
  const pace = new Pace(Infinity);
  expect(pace.due()).toBe(Infinity);
  pace.take(1000);
  expect(pace.due()).toBe(Infinity);
});

it("the slowest pace that there is has one connect, and none after it", () => {
  const pace = new Pace(Number.MIN_VALUE);
  expect(pace.due()).toBe(1);
  pace.take(1);
  vi.advanceTimersByTime(60_000);
  expect(pace.due()).toBe(0);
  expect(pace.waitMs()).toBe(2 ** 31 - 1);
});
