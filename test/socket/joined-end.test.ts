/** What end() of a stream that is joined to itself asks of the kernel, with an addon that a test makes up. */
import net from "node:net";
import { expect, it, vi } from "vitest";
import { endJoined, endWithoutFin } from "../../lib/socket/joined-end.ts";
import { replaceNative } from "../../lib/socket/native.ts";
import { withNative } from "../support/harness.ts";

/** A handle with a descriptor that no process has. */
function createHandle() {
  return { fd: 999_999, shutdown: vi.fn((_request: object) => -1) };
}

/** Runs `use` with a clock that stands, and an addon whose endJoinedOf() returns these, the last of them for ever. */
async function withAnswers(answers: readonly number[], use: (endJoinedOf: () => number) => unknown) {
  const left = [...answers];
  const endJoinedOf = vi.fn(() => (left.length > 1 ? left.shift()! : left[0]!));
  vi.useFakeTimers();
  try {
    await withNative({ endJoinedOf }, async () => void (await use(endJoinedOf)));
  } finally {
    vi.useRealTimers();
  }
}

it("end() is done at once when all has arrived, and asks once", () =>
  withAnswers([1], (endJoinedOf) => {
    expect(endJoined(createHandle())).toBe(1);
    vi.advanceTimersByTime(10_000);
    expect(endJoinedOf).toHaveBeenCalledTimes(1);
    expect(endJoinedOf).toHaveBeenCalledWith(999_999);
  }));

it("asks again while bytes are on their way, less and less often, and no more after that", () =>
  withAnswers([0, 0, 0, 1], (endJoinedOf) => {
    expect(endJoined(createHandle())).toBe(1);
    for (const [afterMs, calls] of [
      [1, 2],
      [2, 3],
      [3, 3],
      [1, 4],
      [10_000, 4],
    ] as const) {
      vi.advanceTimersByTime(afterMs);
      expect(endJoinedOf).toHaveBeenCalledTimes(calls);
    }
  }));

it("asks at least 15 times a second, without keeping the process, until the handle is closed", () =>
  withAnswers([0], (endJoinedOf) => {
    const handle = createHandle();
    const start = vi.spyOn(globalThis, "setTimeout");
    endJoined(handle);
    expect(start.mock.results[0]!.value.hasRef()).toBe(false);
    start.mockRestore();
    vi.advanceTimersByTime(127);
    expect(endJoinedOf).toHaveBeenCalledTimes(8);
    vi.advanceTimersByTime(128);
    expect(endJoinedOf).toHaveBeenCalledTimes(10);
    handle.fd = -1;
    vi.advanceTimersByTime(10_000);
    expect(endJoinedOf).toHaveBeenCalledTimes(10);
  }));

it("sends a FIN where the kernel or the addon cannot do that", async () => {
  const stream = new net.Socket();
  const handle = createHandle();
  Object.defineProperty(stream, "_handle", { value: handle });
  const own = handle.shutdown;
  endWithoutFin(stream);
  const request = {};
  await withAnswers([1], () => expect(handle.shutdown(request)).toBe(1));
  expect(own).not.toHaveBeenCalled();
  await withAnswers([-38], () => expect(handle.shutdown(request)).toBe(-1));
  expect(own).toHaveBeenCalledExactlyOnceWith(request);
  expect(own.mock.contexts).toEqual([handle]);
  const restore = replaceNative(null);
  expect(endJoined(handle)).toBe(null);
  restore();
});

it("leaves a stream without a handle, or with one of another kind, as it is", () => {
  expect(() => endWithoutFin(new net.Socket())).not.toThrow();
  const foreign = Object.defineProperty(new net.Socket(), "_handle", { value: Object.freeze({}) });
  expect(() => endWithoutFin(foreign)).not.toThrow();
});
