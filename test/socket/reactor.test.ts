/** The reactor's JavaScript end, with an epoll thread that the test makes up. */
import os from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { watchWritable, yieldToLoop } from "../../lib/socket/reactor.ts";

const { EAGAIN, EBADF } = os.constants.errno;

/** A native side whose wake-ups the test sends. */
function makeNative(calls: Partial<Native> = {}) {
  const state = {
    starts: 0,
    watched: [] as number[],
    unwatched: 0,
    tokens: new Float64Array(0),
    wake: (_count: number) => {},
  };
  const native: Native = {
    ...loadNative(),
    reactorStart: (ready, tokens) => {
      state.starts++;
      Object.assign(state, { wake: ready, tokens });
      return 0;
    },
    watch: (_handle, token) => {
      state.watched.push(token);
      return 0;
    },
    unwatch: () => {
      state.unwatched++;
      return 0;
    },
    ...calls,
  };
  return { native, state, handle: native.handle() };
}

describe("watchWritable", () => {
  it("starts one thread for all, and calls those whose tokens come, and no other", () => {
    const { native, state, handle } = makeNative();
    const called: string[] = [];
    for (const name of ["a", "b", "c"]) watchWritable(native, handle, () => called.push(name));
    expect(state.starts).toBe(1);
    expect(new Set(state.watched).size).toBe(3);
    state.tokens.set([state.watched[2]!, state.watched[0]!, state.watched[1]!]);
    state.wake(2);
    expect(called).toEqual(["c", "a"]);
    state.wake(0);
    expect(called).toHaveLength(2);
  });

  it("a token of a watch that was ended while it was on its way is nobody's", () => {
    const { native, state, handle } = makeNative();
    const called: string[] = [];
    const end = watchWritable(native, handle, () => called.push("ended")) as () => void;
    watchWritable(native, handle, () => called.push("other"));
    end();
    expect(state.unwatched).toBe(1);
    state.tokens.set(state.watched);
    state.wake(2);
    expect(called).toEqual(["other"]);
  });

  it("wakes all who wait when waiting has failed for good", () => {
    const { native, state, handle } = makeNative();
    const called: string[] = [];
    const ends: (() => void)[] = [];
    for (const name of ["a", "b"]) {
      ends.push(
        watchWritable(native, handle, () => {
          called.push(name);
          for (const end of ends) end();
        }) as () => void,
      );
    }
    state.wake(-EBADF);
    expect(called).toEqual(["a", "b"]);
  });

  it("returns the errno of a thread that cannot be had, and tries again with the next", () => {
    let starts = 0;
    const { native, handle } = makeNative({
      reactorStart: () => {
        starts++;
        return -EAGAIN;
      },
    });
    expect(watchWritable(native, handle, () => {})).toBe(-EAGAIN);
    expect(watchWritable(native, handle, () => {})).toBe(-EAGAIN);
    expect(starts).toBe(2);
  });

  it("returns the errno of a watch that cannot be had, which then calls nobody", () => {
    const tokens: number[] = [];
    const { native, state, handle } = makeNative({
      watch: (_handle, token) => {
        tokens.push(token);
        return -EBADF;
      },
    });
    expect(watchWritable(native, handle, () => expect.unreachable("it is not watched"))).toBe(-EBADF);
    state.tokens.set(tokens);
    state.wake(1);
    state.wake(-EBADF);
  });
});

describe("yieldToLoop", () => {
  afterEach(() => void vi.useRealTimers());

  it("gives the event loop a turn, at most once in a millisecond", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    vi.advanceTimersByTime(1e9);
    const hasTurned = async () => {
      let isTurned = false;
      setImmediate(() => {
        isTurned = true;
      });
      await yieldToLoop();
      return isTurned;
    };
    expect(await hasTurned(), "the last turn was long ago").toBe(true);
    expect(await hasTurned()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await hasTurned()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await hasTurned()).toBe(true);
  });
});
