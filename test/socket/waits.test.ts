/** The waits of one socket, with an epoll thread and a poll(2) that the test makes up. */
import os from "node:os";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import type { Operation, Step } from "../../lib/socket/waits.ts";
import { SocketWaits } from "../../lib/socket/waits.ts";

const { EBADF, ENOMEM } = os.constants.errno;

function makeWaits(calls: Partial<Native> = {}) {
  const state = {
    watches: [] as [read: number, write: number][],
    unwatched: 0,
    wake: (_result: number) => {},
  };
  const native: Native = {
    ...loadNative(),
    reactorStart: (ready, tokens) => {
      state.wake = (result) => {
        tokens[0] = state.watches.length;
        ready(result < 0 ? result : 1);
      };
      return 0;
    },
    watch: (_handle, _token, read, write) => {
      state.watches.push([read, write]);
      return 0;
    },
    unwatch: () => ++state.unwatched,
    poll: () => 0,
    ...calls,
  };
  return { waits: new SocketWaits(native, native.handle()), state };
}

/** An operation whose steps are scripted; what has no step left blocks. */
function scripted(steps: Step<string>[], plan: Partial<Operation<string>> = {}): Operation<string> {
  return { direction: "read", syscall: "recv", step: () => steps.shift() ?? "blocked", ...plan };
}

const late = () => new Error("late");
const outcome = (promise: Promise<unknown>) => promise.catch((error) => error);

describe("the waits of a socket", () => {
  it("what ends at once is not watched, and what blocks is watched in its own direction alone", async () => {
    const { waits, state } = makeWaits();
    expect(await waits.perform(scripted([{ value: "now" }]), {}, late)).toBe("now");
    expect(state.watches).toEqual([]);
    const steps: Step<string>[] = ["blocked"];
    const reading = waits.perform(scripted(steps), {}, late);
    expect(state.watches).toEqual([[1, 0]]);
    const writes: Step<string>[] = ["blocked"];
    const writing = waits.perform(scripted(writes, { direction: "write" }), {}, late);
    expect(state.watches).toEqual([
      [1, 0],
      [1, 1],
    ]);
    steps.push({ value: "read" });
    writes.push({ value: "written" });
    state.wake(0);
    expect(await Promise.all([reading, writing])).toEqual(["read", "written"]);
    expect(state.unwatched, "each watch was ended").toBe(2);
  });

  it("a second waiter of the same kind neither watches again nor makes a call before the first has ended", async () => {
    const { waits, state } = makeWaits();
    const [first, second]: Step<string>[][] = [["blocked"], [{ value: "second" }]];
    const waiting = [waits.perform(scripted(first!), {}, late), waits.perform(scripted(second!), {}, late)];
    expect(second).toHaveLength(1);
    expect(state.watches).toHaveLength(1);
    first!.push({ value: "first" });
    state.wake(0);
    expect(await Promise.all(waiting)).toEqual(["first", "second"]);
  });

  it("steps that never block leave turns to the event loop, and go on without a wake-up", async () => {
    const { waits } = makeWaits();
    let steps = 0;
    const STEPS = 400;
    const step = (): Step<string> => {
      const until = performance.now() + 0.02;
      while (performance.now() < until);
      return ++steps < STEPS ? "again" : { value: "all" };
    };
    let turns = 0;
    let isOver = false;
    const counting = (async () => {
      while (!isOver) {
        await turn();
        turns++;
      }
    })();
    expect(await waits.perform(scripted([], { step }), {}, late)).toBe("all");
    isOver = true;
    await counting;
    expect(steps).toBe(STEPS);
    expect(turns, "8 ms of steps yield more than once").toBeGreaterThan(1);
    expect(turns, "and not at every step").toBeLessThan(STEPS / 2);
  });

  it("a deadline rejects with the time that has passed, and ends the watch", async () => {
    const { waits, state } = makeWaits();
    let elapsedMs = 0;
    const note = (passed: number) => {
      elapsedMs = passed;
      return new Error("late");
    };
    expect(await outcome(waits.perform(scripted([]), { deadlineMs: 20 }, note))).toMatchObject({
      message: "late",
    });
    expect(elapsedMs).toBeGreaterThan(15);
    expect(elapsedMs).toBeLessThan(10_000);
    expect(state.unwatched).toBe(1);
  });

  it("a wait that ends in time leaves no timer, and a later abort does nothing", async () => {
    const { waits, state } = makeWaits();
    const abort = new AbortController();
    const steps: Step<string>[] = ["blocked"];
    const limits = { deadlineMs: 60_000, signal: abort.signal };
    const waiting = waits.perform(scripted(steps), limits, late);
    const countTimers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const timers = countTimers();
    steps.push({ value: "in time" });
    state.wake(0);
    expect(await waiting).toBe("in time");
    expect(countTimers()).toBe(timers - 1);
    abort.abort();
    expect(state.watches).toHaveLength(1);
  });

  it("a wait without limits is not ended by another's abort, which lets the next of the queue begin", async () => {
    const { waits, state } = makeWaits();
    const abort = new AbortController();
    const next: Step<string>[] = [{ value: "next" }];
    const first = outcome(waits.perform(scripted([]), { signal: abort.signal }, late));
    const second = waits.perform(scripted(next), {}, late);
    abort.abort("reason");
    expect(await first).toBe("reason");
    expect(await second).toBe("next");
    expect(state.unwatched).toBe(1);
  });

  it.each([
    "read",
    "write",
  ] as const)("a poller in direction %s asks poll(2) for it alone, when there is one", async (direction) => {
    const polled: [number, number][] = [];
    let isReady = false;
    const { waits, state } = makeWaits({
      poll: (_handle, read, write) => {
        polled.push([read, write]);
        return isReady ? 1 : 0;
      },
    });
    const plan = { direction, isPoll: true } as const;
    const waiting = waits.perform(scripted([{ value: "ready" }], plan), {}, late);
    const asked = direction === "read" ? [1, 0] : [0, 1];
    expect(polled).toEqual([asked]);
    isReady = true;
    state.wake(0);
    expect(await waiting).toBe("ready");
    expect(polled).toEqual([asked, asked]);
  });

  it("a reactor that fails, and a watch that is refused, reject with the call that failed", async () => {
    const failing = makeWaits();
    const waiting = outcome(failing.waits.perform(scripted([]), {}, late));
    failing.state.wake(-EBADF);
    expect(await waiting).toMatchObject({ code: "EBADF", syscall: "epoll_wait" });
    const refused = makeWaits({ watch: () => -ENOMEM });
    const refusal = await outcome(refused.waits.perform(scripted([]), {}, late));
    expect(refusal).toMatchObject({ code: "ENOMEM", syscall: "epoll_ctl" });
  });

  it("end() rejects every wait of both directions and ends the watch", async () => {
    const { waits, state } = makeWaits();
    const all = (["read", "write"] as const).map((direction) =>
      outcome(waits.perform(scripted([], { direction }), {}, late)),
    );
    waits.end("closed");
    expect(await Promise.all(all)).toEqual(["closed", "closed"]);
    expect(state.watches.length).toBe(state.unwatched);
  });
});
