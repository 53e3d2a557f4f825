import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { portFacts } from "../../lib/kernel/index.ts";
import type { ReconnectOptions } from "../../lib/loop/options.ts";
import type { ReconnectProgress } from "../../lib/loop/reconnect.ts";
import { ReconnectLoop, summarizeTrials } from "../../lib/loop/reconnect.ts";
import { SocketError } from "../../lib/socket/errors.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { Native } from "../../lib/socket/native.ts";
import { deadPeer, FAMILIES, requires, withListener, withNative } from "../support/harness.ts";

async function runLoop(options: ReconnectOptions) {
  await using loop = new ReconnectLoop(options);
  const result = await loop.run();
  const selfConnected = result.socket?.isSelfConnected() ?? false;
  result.socket?.reset();
  return { ...result, selfConnected };
}

describe.each(FAMILIES)("over IPv%i", (family) => {
  it.for([
    "bind",
    "range",
  ] as const)("%s self-connects on the first attempt, 50 of 50", async (strategy, context) => {
    if (strategy === "range") requires(context, "6.3", "localPortRange");
    for (let trial = 0; trial < 50; trial++) {
      const peer = deadPeer(family);
      const result = await runLoop({ peer, strategy, attempts: 1 });
      expect(result).toMatchObject({
        verdict: "self-connect",
        attempts: 1,
        outcomes: { "self-connect": 1 },
        local: peer,
        selfConnected: true,
      });
      expect(listenRefusal(peer), "the port is free after reset()").toBeNull();
    }
  });

  it.each([
    ["fresh", "connect"],
    ["reuse", "connect"],
    ["autobind", "other"],
  ] as const)("%s self-connects in time on a port of the parity that it picks", async (strategy, parity) => {
    const result = await runLoop({ peer: deadPeer(family, parity), strategy, attempts: 1_000_000 });
    expect(result.verdict).toBe("self-connect");
    expect(result.outcomes).toEqual({ ECONNREFUSED: result.attempts - 1, "self-connect": 1 });
  });
});

describe("a loop with selfConnects", () => {
  it.for([
    "bind",
    "range",
  ] as const)("%s: resets all but the last, counts all, and leaves the port free", async (strategy, context) => {
    if (strategy === "range") requires(context, "6.3", "localPortRange");
    for (const family of FAMILIES) {
      const peer = deadPeer(family);
      const result = await runLoop({ peer, strategy, selfConnects: 1000, attempts: 5000 });
      expect(result).toMatchObject({
        verdict: "self-connect",
        attempts: 1000,
        outcomes: { "self-connect": 1000 },
        selfConnected: true,
      });
      expect(listenRefusal(peer)).toBeNull();
    }
  });

  it("returns no socket when the attempts are spent first", async () => {
    const result = await runLoop({ peer: deadPeer(), strategy: "bind", selfConnects: 1000, attempts: 10 });
    expect(result).toMatchObject({
      verdict: "attempts-spent",
      outcomes: { "self-connect": 10 },
      socket: null,
    });
  });

  it("counts across bursts and threads", async () => {
    const result = await runLoop({
      peer: deadPeer(),
      strategy: "reuse",
      selfConnects: 3,
      threads: 2,
      durationMs: 25_000,
    });
    expect(result.verdict).toBe("self-connect");
    // Two threads may each make the last one.
    expect(result.outcomes["self-connect"]).toBeGreaterThanOrEqual(3);
    expect(result.outcomes["self-connect"]).toBeLessThanOrEqual(4);
  });

  it("stops at the first connection to a listener", async () => {
    await withListener(
      4,
      () => {},
      async (peer) => {
        const result = await runLoop({ peer, selfConnects: 5, attempts: 10 });
        expect(result).toMatchObject({ verdict: "connected", attempts: 1, outcomes: { connected: 1 } });
      },
    );
  });
});

describe("a loop", () => {
  it.each([
    ["fresh", "other"],
    ["autobind", "connect"],
  ] as const)("control: %s never self-connects on the other parity", async (strategy, parity) => {
    const result = await runLoop({ peer: deadPeer(4, parity), strategy, attempts: 30_000 });
    expect(result).toMatchObject({
      verdict: "attempts-spent",
      attempts: 30_000,
      outcomes: { ECONNREFUSED: 30_000 },
    });
  });

  it("ends with verdict connected when the peer listens", async () => {
    await withListener(
      4,
      () => {},
      async (peer) => {
        const result = await runLoop({ peer, attempts: 10 });
        expect(result).toMatchObject({ verdict: "connected", attempts: 1, outcomes: { connected: 1 } });
        expect(result.selfConnected).toBe(false);
      },
    );
  });

  it("counts refusals of bind(2) as outcomes", async () => {
    await withListener(
      4,
      () => {},
      async (peer) => {
        const result = await runLoop({ peer, strategy: "bind", attempts: 5 });
        expect(result).toMatchObject({ verdict: "attempts-spent", outcomes: { EADDRINUSE: 5 } });
      },
    );
  });

  it("stops at its duration", async () => {
    const result = await runLoop({ peer: deadPeer(4, "other"), durationMs: 60 });
    expect(result.verdict).toBe("deadline");
    expect(result.attempts).toBeGreaterThan(0);
  });

  it("resolves with the verdict interrupted when the signal aborts", async () => {
    const loop = new ReconnectLoop({ peer: deadPeer(4, "other"), durationMs: 60_000, threads: 2 });
    const result = await loop.run(AbortSignal.timeout(50));
    expect(result.verdict).toBe("interrupted");
    expect(result.attempts).toBe(result.outcomes.ECONNREFUSED);
    const before = await new ReconnectLoop({ peer: deadPeer(), durationMs: 60_000 }).run(AbortSignal.abort());
    expect(before).toMatchObject({ verdict: "interrupted", attempts: 0 });
  });

  it("makes the exact number of attempts with 1, 2 or 3 threads", async () => {
    for (const threads of [1, 2, 3]) {
      const result = await runLoop({ peer: deadPeer(4, "other"), attempts: 5_003, threads });
      expect(result).toMatchObject({ attempts: 5_003, threads, verdict: "attempts-spent" });
    }
  });

  it("does not exceed attemptsPerSecond", async () => {
    const result = await runLoop({ peer: deadPeer(4, "other"), durationMs: 500, attemptsPerSecond: 100 });
    expect(result.attempts).toBeGreaterThan(0);
    expect(result.attempts).toBeLessThanOrEqual(Math.ceil(result.elapsedMs / 10) + 1);
  });

  it("skips most attempts that were due while the event loop was blocked", async () => {
    const loop = new ReconnectLoop({
      peer: deadPeer(4, "other"),
      durationMs: 10_000,
      attemptsPerSecond: 100,
    });
    const abort = new AbortController();
    const run = loop.run(abort.signal);
    await sleep(50);
    const before = loop.progress().attempts;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
    const freedAt = performance.now();
    await sleep(100);
    // 150 were due during the block; the loop makes up for 5, and one more is due every 10 ms since.
    const dueSince = (performance.now() - freedAt) / 10;
    expect(loop.progress().attempts - before).toBeLessThan(40 + dueSince);
    abort.abort();
    await run;
  });

  it.each([
    ["in weeks", 1e-7],
    ["ever, at the smallest rate that there is", Number.MIN_VALUE],
  ])("accepts a rate of one attempt %s", async (_name, attemptsPerSecond) => {
    const peer = deadPeer(4, "other");
    const warning = new Promise((resolve) => process.once("warning", resolve));
    const result = await runLoop({ peer, durationMs: 500, attemptsPerSecond });
    expect(result).toMatchObject({ verdict: "deadline", attempts: 1 });
    // Node warns of a timer that overflows, and uses 1 ms instead.
    expect(await Promise.race([warning, sleep(20, "no warning")])).toBe("no warning");
  });

  it("stops when the signal of its options aborts, and when the signal of any run() call aborts", async () => {
    const peer = deadPeer(4, "other");
    const limits = { peer, durationMs: 60_000 };
    const byOption = await new ReconnectLoop({ ...limits, signal: AbortSignal.timeout(20) }).run();
    expect(byOption.verdict).toBe("interrupted");
    const loop = new ReconnectLoop(limits);
    const first = loop.run();
    expect((await loop.run(AbortSignal.timeout(20))).verdict).toBe("interrupted");
    expect((await first).verdict).toBe("interrupted");
  });

  it("stops when the reader leaves the iteration", async () => {
    const loop = new ReconnectLoop({ peer: deadPeer(4, "other"), durationMs: 60_000 });
    for await (const progress of loop) if (progress.attempts > 0) break;
    const { attempts } = loop.progress();
    await sleep(50);
    expect(loop.progress().attempts).toBe(attempts);
    expect((await loop.run()).verdict).toBe("interrupted");
  });

  it("throws its failure to a busy reader, without an unhandled rejection", async () => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    const failing = { peer: deadPeer(4, "other"), durationMs: 60_000 };
    const onPorts = () => {
      throw new Error("the disk is full");
    };
    const read = async () => {
      for await (const _ of new ReconnectLoop({ ...failing, onPorts })) await sleep(100);
    };
    await expect(read()).rejects.toThrow("the disk is full");
    await sleep(10);
    process.off("unhandledRejection", unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  it("passes the local port of every attempt to onPorts, in order, all of one parity", async () => {
    const { low, high } = portFacts().ephemeralRange!;
    const ports: number[] = [];
    await runLoop({ peer: deadPeer(4, "other"), attempts: 40_000, onPorts: (batch) => ports.push(...batch) });
    expect(ports).toHaveLength(40_000);
    expect(ports.every((port) => port >= low && port <= high && (port - low) % 2 === 0)).toBe(true);
    // This kernel's walk goes up, except where it wraps around or jumps.
    const upward = ports.filter((port, i) => i > 0 && port > ports[i - 1]!).length;
    expect(upward / ports.length).toBeGreaterThan(0.9);
  });

  it("has consistent progress at any time: the outcomes add up to the attempts", async () => {
    const loop = new ReconnectLoop({ peer: deadPeer(4, "other"), durationMs: 1000, threads: 2 });
    const ended = loop.run();
    const all: ReconnectProgress[] = [];
    const timer = setInterval(() => {
      for (let i = 0; i < 100; i++) all.push(loop.progress());
    }, 1);
    await ended;
    clearInterval(timer);
    const addUp = ({ outcomes }: ReconnectProgress) =>
      Object.values(outcomes).reduce((sum, one) => sum + one, 0);
    expect(all.length).toBeGreaterThan(100);
    expect(all.filter((progress) => addUp(progress) !== progress.attempts)).toEqual([]);
  });

  it("yields progress no faster than the reader reads it, and ends", async () => {
    const loop = new ReconnectLoop({ peer: deadPeer(4, "other"), durationMs: 400 });
    const seen: number[] = [];
    for await (const progress of loop) {
      seen.push(progress.attempts);
      await sleep(90);
    }
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.length).toBeLessThan(8);
    expect([...seen].sort((a, b) => a - b)).toEqual(seen);
    expect((await loop.run()).attempts).toBeGreaterThanOrEqual(seen.at(-1)!);
  });

  it("`await using` stops it and resets its socket", async () => {
    const peer = deadPeer();
    {
      await using loop = new ReconnectLoop({ peer, strategy: "bind", attempts: 1 });
      await loop.run();
      expect(listenRefusal(peer)).toBe("EADDRINUSE");
    }
    expect(listenRefusal(peer)).toBeNull();
  });

  it("rejects with EMFILE when no socket can be opened, and leaks nothing", async () => {
    const burst: Native["burst"] = (...values) => {
      (values.at(-1) as (result: number) => void)(-os.constants.errno.EMFILE);
      return 0;
    };
    await withNative({ burst }, async () => {
      const loop = new ReconnectLoop({ peer: deadPeer(), attempts: 10 });
      await expect(loop.run()).rejects.toThrow(SocketError);
    });
  });
});

it("summarizeTrials() counts only the trials that self-connected", () => {
  const trials = [10, 20, 30].map(
    (attempts) => ({ verdict: "self-connect", attempts, elapsedMs: 1 }) as const,
  );
  const spent = { verdict: "attempts-spent", attempts: 1000, elapsedMs: 9 } as const;
  expect(summarizeTrials([...trials, spent]).attempts).toEqual({
    min: 10,
    median: 20,
    mean: 20,
    p90: 28,
    max: 30,
  });
  expect(summarizeTrials([spent]).attempts).toBeNull();
});
