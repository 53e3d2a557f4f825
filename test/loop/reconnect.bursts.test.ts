/** ReconnectLoop with bursts that the test makes up: each ends when and how the test says. */
import os from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { ReconnectOptions } from "../../lib/loop/options.ts";
import type { Trial } from "../../lib/loop/reconnect.ts";
import { ReconnectLoop, summarizeTrials } from "../../lib/loop/reconnect.ts";
import type { Address } from "../../lib/socket/address.ts";
import { addressBytes } from "../../lib/socket/address-bytes.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { Handle, Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { deadPeer, withListener, withNative } from "../support/harness.ts";

const { EAGAIN, ECONNREFUSED, EMFILE, ENOPROTOOPT } = os.constants.errno;
/** Before the counters by errno: the local port, resets, destination, failed call, and two words about io_uring. */
const HEADER_WORDS = 6;
const FAILED_CALL = 3;

/** One burst under way: what native code was asked, and what the test lets come of it. */
class Burst {
  readonly connected: Handle;
  readonly strategy: string;
  readonly attempts: number;
  readonly selfConnects: number;
  readonly sliceMs: number;
  readonly stop: Int32Array;
  readonly ports: Uint16Array | null;
  readonly report: Uint32Array;
  readonly done: (result: number) => void;

  constructor(values: Parameters<Native["burst"]>) {
    [this.connected, this.strategy, , this.attempts, this.selfConnects] = values;
    [, , , , , this.sliceMs, this.stop, this.ports, this.report] = values;
    this.done = values[15];
  }

  /** So many attempts have ended in an errno; 0 is "connected". */
  count(errno: number, times: number): this {
    this.report[HEADER_WORDS + errno]! += times;
    return this;
  }

  /** Ends with a socket that is joined to itself. */
  selfConnect(self: Address): void {
    const native = loadNative();
    const bytes = addressBytes(self, native);
    native.socket(this.connected, self.family, 0);
    native.bind(this.connected, bytes);
    native.connect(this.connected, bytes);
    this.count(0, 1).done(0);
  }

  /** Ends with a socket that is connected to a listener. */
  connect(peer: Address): void {
    const native = loadNative();
    native.socket(this.connected, peer.family, 0);
    native.connect(this.connected, addressBytes(peer, native));
    this.count(0, 1).done(0);
  }
}

/** Runs with bursts that do what `play` says, in the order in which they are started. */
async function withBursts<T>(
  play: (burst: Burst, index: number) => unknown,
  use: (bursts: Burst[]) => Promise<T>,
): Promise<T> {
  const bursts: Burst[] = [];
  const burst: Native["burst"] = (...values) => {
    const next = new Burst(values);
    bursts.push(next);
    const answer = play(next, bursts.length - 1);
    return typeof answer === "number" ? answer : 0;
  };
  return withNative({ burst }, () => use(bursts));
}

/** Ends every attempt with a refusal. */
const refuse = (burst: Burst) => burst.count(ECONNREFUSED, burst.attempts).done(0);

const runOf = (options: Partial<ReconnectOptions>) => {
  const loop = new ReconnectLoop({ peer: deadPeer(), ...options });
  return { loop, peer: loop.peer };
};

describe("a socket that connects", () => {
  it.each([
    ["the signal of run()", (loop: ReconnectLoop, abort: AbortController) => loop.run(abort.signal)],
    ["a call of run() with an aborted signal", (loop: ReconnectLoop) => loop.run()],
  ])("after an abort by %s is reset, and the end stays", (how, start) =>
    withBursts(
      () => {},
      async (bursts) => {
        const { loop, peer } = runOf({ attempts: 10 });
        const abort = new AbortController();
        const run = start(loop, abort);
        if (how.includes("aborted")) void loop.run(AbortSignal.abort());
        else abort.abort();
        expect(bursts[0]!.stop[0], "the stop flag is set").toBe(1);
        bursts[0]!.selfConnect(peer);
        expect(await run).toMatchObject({
          verdict: "interrupted",
          socket: null,
          local: null,
          attempts: 1,
          outcomes: { "self-connect": 1 },
        });
        expect(listenRefusal(peer)).toBeNull();
        expect(bursts).toHaveLength(1);
      },
    ));

  it("when the time is over, and the burst was under way, is kept all the same", () =>
    withBursts(
      () => {},
      async (bursts) => {
        const { loop, peer } = runOf({ durationMs: 1 });
        const run = loop.run();
        while (bursts[0]!.stop[0] === 0) await nextTurn();
        bursts[0]!.selfConnect(peer);
        const result = await run;
        expect(result).toMatchObject({ verdict: "self-connect", local: peer });
        result.socket!.reset();
      },
    ));

  it("after another one is reset: the first decides", () =>
    withListener(
      4,
      () => {},
      (listening) =>
        withBursts(
          () => {},
          async (bursts) => {
            const { loop, peer } = runOf({ attempts: 10, threads: 2 });
            const run = loop.run();
            expect(bursts).toHaveLength(2);
            bursts[0]!.connect(listening);
            await nextTurn();
            bursts[1]!.selfConnect(peer);
            const result = await run;
            expect(result).toMatchObject({ verdict: "connected", attempts: 2 });
            expect(result.outcomes).toEqual({ connected: 1, "self-connect": 1 });
            expect(listenRefusal(peer)).toBeNull();
            result.socket!.reset();
          },
        ),
    ));

  it("is reset where another thread fails, which is what the caller learns", () =>
    withBursts(
      () => {},
      async (bursts) => {
        const { loop, peer } = runOf({ attempts: 10, threads: 2 });
        const run = loop.run();
        bursts[0]!.selfConnect(peer);
        await nextTurn();
        expect(listenRefusal(peer)).toBe("EADDRINUSE");
        bursts[1]!.done(-EMFILE);
        await expect(run).rejects.toMatchObject({ code: "EMFILE", syscall: "socket" });
        expect(listenRefusal(peer)).toBeNull();
      },
    ));

  it.each(
    loadNative().burstCalls.map((call, index) => [call, index] as const),
  )("names the call of a burst that failed: %s", (call, index) =>
    withBursts(
      () => {},
      async (bursts) => {
        const run = runOf({ attempts: 10 }).loop.run();
        bursts[0]!.report[FAILED_CALL] = index;
        bursts[0]!.done(-EMFILE);
        const message = call === "io_uring_setup" ? /: leave out the engine/ : new RegExp(`^${call} EMFILE`);
        await expect(run).rejects.toMatchObject({
          code: "EMFILE",
          syscall: call,
          message: expect.stringMatching(message),
        });
      },
    ));

  it("and is joined to itself is reset while more are to come", () =>
    withBursts(
      (burst) => void queueMicrotask(() => burst.selfConnect(self)),
      async (bursts) => {
        const { loop, peer } = runOf({ attempts: 10, selfConnects: 3 });
        self = peer;
        const result = await loop.run();
        expect(result).toMatchObject({ verdict: "self-connect", attempts: 3, local: peer });
        expect(bursts.map(({ selfConnects }) => selfConnects)).toEqual([3, 2, 1]);
        result.socket!.reset();
      },
    ));
  let self: Address;
});

describe("a burst is asked for", () => {
  it("the strategy, the attempts that are left, and a second at most", () =>
    withBursts(
      (burst, index) => void (index === 0 ? burst.count(ECONNREFUSED, 4).done(0) : refuse(burst)),
      async (bursts) => {
        const { loop } = runOf({ attempts: 10, strategy: "bind" });
        expect(await loop.run()).toMatchObject({ verdict: "attempts-spent", attempts: 10, strategy: "bind" });
        expect(bursts.map(({ attempts }) => attempts)).toEqual([10, 6]);
        expect(bursts.map(({ strategy, sliceMs, ports }) => [strategy, sliceMs, ports])).toEqual([
          ["bind", 1000, null],
          ["bind", 1000, null],
        ]);
      },
    ));

  it("its share of the attempts and of the self-connects, where there are several", () =>
    withBursts(
      (burst) => void queueMicrotask(() => refuse(burst)),
      async (bursts) => {
        const { loop } = runOf({ attempts: 9, threads: 3, selfConnects: 4 });
        expect(await loop.run()).toMatchObject({ verdict: "attempts-spent", attempts: 9 });
        expect(bursts.slice(0, 3).map(({ attempts }) => attempts)).toEqual([3, 2, 2]);
        expect(bursts[0]!.selfConnects).toBe(2);
      },
    ));

  it("no longer than the loop has left", () =>
    withBursts(
      () => {},
      async (bursts) => {
        const abort = new AbortController();
        const { loop } = runOf({ durationMs: 300 });
        const run = loop.run(abort.signal);
        expect(bursts[0]!.sliceMs).toBeGreaterThan(100);
        expect(bursts[0]!.sliceMs).toBeLessThanOrEqual(300);
        expect(Number.isInteger(bursts[0]!.sliceMs)).toBe(true);
        abort.abort();
        refuse(bursts[0]!);
        await run;
      },
    ));

  it("no more attempts than there is room for their ports, which are given away as they came", () =>
    withBursts(
      (burst, index) => {
        burst.ports!.set([40_001 + index, 40_003]);
        burst.count(ECONNREFUSED, index === 0 ? 2 : burst.attempts).done(0);
      },
      async (bursts) => {
        const batches: Uint16Array[] = [];
        const { loop } = runOf({ attempts: 20_000, onPorts: (ports) => batches.push(ports) });
        await loop.run();
        expect(bursts[0]!.attempts).toBe(16_384);
        expect(bursts[0]!.ports).toHaveLength(16_384);
        expect([...batches[0]!]).toEqual([40_001, 40_003]);
        expect(batches.slice(0, 2).map((batch) => batch[0])).toEqual([40_001, 40_002]);
        expect(batches.reduce((sum, { length }) => sum + length, 0)).toBe(20_000);
      },
    ));

  it("only what is due at a pace, in short slices, and little of what a stall has made due", () =>
    withBursts(
      (burst, index) => {
        if (index === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
        refuse(burst);
      },
      async (bursts) => {
        const { loop } = runOf({ attempts: 20, attemptsPerSecond: 100 });
        const { elapsedMs } = await loop.run();
        expect(bursts[0]).toMatchObject({ attempts: 1, sliceMs: 10 });
        // 30 were due during the stall, of which those of 50 ms are made up for.
        expect(bursts[1]!.attempts).toBe(5);
        expect(elapsedMs).toBeGreaterThanOrEqual(300 + 100);
      },
    ));
});

describe("a burst that cannot be had", () => {
  it("for lack of a thread is EAGAIN, and stops the others", () =>
    withBursts(
      (_burst, index) => (index === 0 ? 0 : -EAGAIN),
      async (bursts) => {
        const { loop } = runOf({ attempts: 10, threads: 2 });
        const run = loop.run();
        await nextTurn();
        expect(bursts[0]!.stop[0]).toBe(1);
        refuse(bursts[0]!);
        await expect(run).rejects.toMatchObject({ code: "EAGAIN", syscall: "clone" });
        expect(loop.progress().attempts, "what was counted stands").toBe(5);
      },
    ));
});

describe("progress", () => {
  it("before the first attempt is nothing", () => {
    const { loop } = runOf({ attempts: 1 });
    expect(loop.progress()).toEqual({
      attempts: 0,
      elapsedMs: 0,
      attemptsPerSecond: 0,
      localPort: null,
      outcomes: {},
    });
  });

  it("adds the bursts under way to those that have ended, under the kernel's names", () =>
    withBursts(
      () => {},
      async (bursts) => {
        const { loop } = runOf({ attempts: 100, selfConnects: 50 });
        const run = loop.run();
        const [first] = bursts;
        first!.report[0] = 40_001;
        first!.report[1] = 2;
        first!.count(ECONNREFUSED, 3).count(0, 3).count(loadNative().unanswered, 1);
        const live = loop.progress();
        expect(live).toMatchObject({
          attempts: 7,
          localPort: 40_001,
          outcomes: { ECONNREFUSED: 3, deadline: 1, connected: 1, "self-connect": 2 },
        });
        first!.done(0);
        await nextTurn();
        expect(bursts[1]!.attempts).toBe(93);
        expect(loop.progress()).toMatchObject({ attempts: 7, localPort: 40_001, outcomes: live.outcomes });
        expect(bursts[1]!.selfConnects).toBe(48);
        bursts[1]!.report[0] = 40_005;
        bursts[1]!.report[1] = 1;
        refuse(bursts[1]!.count(0, 1).count(ECONNREFUSED, -1));
        const { attempts, elapsedMs, attemptsPerSecond, localPort, outcomes } = await run;
        expect({ attempts, localPort, outcomes }).toEqual({
          attempts: 100,
          localPort: 40_005,
          outcomes: { ECONNREFUSED: 95, deadline: 1, connected: 1, "self-connect": 3 },
        });
        expect(elapsedMs).toBeLessThan(performance.now());
        expect(attemptsPerSecond).toBeCloseTo((attempts * 1000) / elapsedMs);
        await nextTurn();
        expect(loop.progress().elapsedMs, "time stands still after the end").toBe(elapsedMs);
      },
    ));

  it("never has more self-connects than connections, however the looks fall", () =>
    withBursts(
      () => {},
      async (bursts) => {
        const { loop } = runOf({ attempts: 10, selfConnects: 5 });
        const run = loop.run();
        bursts[0]!.report[1] = 2;
        bursts[0]!.count(0, 1);
        expect(loop.progress().outcomes).toEqual({ "self-connect": 1 });
        refuse(bursts[0]!.count(ECONNREFUSED, -1));
        await run;
      },
    ));
});

describe("iterating", () => {
  it("ends with the last look, which is complete", () =>
    withBursts(
      (burst) => void queueMicrotask(() => refuse(burst)),
      async () => {
        const { loop } = runOf({ attempts: 10 });
        const looks: number[] = [];
        for await (const { attempts } of loop) looks.push(attempts);
        expect(looks).toEqual([10]);
      },
    ));

  it("left early stops the loop", () =>
    withBursts(
      () => {},
      async (bursts) => {
        const { loop } = runOf({ attempts: 10 });
        for await (const _ of loop) {
          setImmediate(() => refuse(bursts[0]!));
          break;
        }
        expect(bursts[0]!.stop[0]).toBe(1);
        expect(await loop.run()).toMatchObject({ verdict: "interrupted", attempts: 10 });
      },
    ));
});

describe("signals", () => {
  it("of the options that is aborted before means no burst at all", () =>
    withBursts(
      () => {},
      async (bursts) => {
        const { loop } = runOf({ attempts: 10, signal: AbortSignal.abort() });
        expect(await loop.run()).toMatchObject({ verdict: "interrupted", attempts: 0 });
        expect(bursts).toHaveLength(0);
      },
    ));

  it("of the options ends a loop that runs, and so does its time", () =>
    withBursts(
      () => {},
      async (bursts) => {
        const abort = new AbortController();
        const limits: [Partial<ReconnectOptions>, string][] = [
          [{ attempts: 10, signal: abort.signal }, "interrupted"],
          [{ durationMs: 1 }, "deadline"],
        ];
        for (const [options, verdict] of limits) {
          const run = runOf(options).loop.run();
          abort.abort();
          while (bursts.at(-1)!.stop[0] === 0) await nextTurn();
          bursts.at(-1)!.count(ECONNREFUSED, 1).done(0);
          expect(await run).toMatchObject({ verdict, socket: null });
        }
      },
    ));

  it("aborted after the end change nothing", () =>
    withBursts(refuse, async () => {
      const abort = new AbortController();
      const { loop } = runOf({ attempts: 10, signal: abort.signal });
      const first = await loop.run(abort.signal);
      abort.abort();
      expect(first.verdict).toBe("attempts-spent");
      expect(await loop.run(abort.signal)).toBe(first);
    }));

  it("`await using` stops a loop that runs, and waits for it", () =>
    withBursts(
      () => {},
      async (bursts) => {
        const { loop, peer } = runOf({ attempts: 10 });
        const run = loop.run();
        setImmediate(() => bursts[0]!.selfConnect(peer));
        await loop[Symbol.asyncDispose]();
        expect(bursts[0]!.stop[0]).toBe(1);
        expect((await run).verdict).toBe("interrupted");
        await runOf({ attempts: 1 }).loop[Symbol.asyncDispose]();
      },
    ));
});

describe("the limits of a loop", () => {
  const peer = "127.0.0.1:1";
  const codeOf = (options: object) => {
    try {
      return new ReconnectLoop({ peer, ...options }) && null;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  it.each([
    ["attempts", Number.MAX_SAFE_INTEGER],
    ["durationMs", 2 ** 31 - 1],
    ["selfConnects", 2 ** 32 - 1],
    ["threads", 256],
  ])("%s is a whole number from 1 to %i", (name, most) => {
    const limit = name === "attempts" ? {} : { attempts: 1 };
    for (const value of [1, most]) expect(codeOf({ ...limit, [name]: value })).toBe(null);
    for (const value of [0, -1, 1.5, most + 1, Number.NaN])
      expect(codeOf({ ...limit, [name]: value })).toBe("ERR_OUT_OF_RANGE");
  });

  it("a pace is a number above 0, and one limit is needed", () => {
    for (const attemptsPerSecond of [1e-7, 1, 1e9])
      expect(codeOf({ attempts: 1, attemptsPerSecond })).toBe(null);
    for (const attemptsPerSecond of [0, -1, Number.NaN, Infinity])
      expect(codeOf({ attempts: 1, attemptsPerSecond })).toBe("ERR_OUT_OF_RANGE");
    expect(codeOf({})).toBe("ERR_NO_LIMIT");
    expect(codeOf({ durationMs: 1 })).toBe(null);
  });

  it("ports are recorded on one thread only", () => {
    expect(codeOf({ attempts: 1, onPorts: () => {}, threads: 1 })).toBe(null);
    expect(codeOf({ attempts: 1, onPorts: () => {}, threads: 2 })).toBe("ERR_PORTS_OF_THREADS");
  });

  it("the peer is a port of this host, and the strategy one that this kernel has", () => {
    expect(codeOf({ attempts: 1, peer: "127.0.0.1:0" })).toBe("ERR_INVALID_PORT");
    expect(codeOf({ attempts: 1, peer: "192.0.2.1:80" })).toBe("ERR_NOT_THIS_HOST");
    expect(codeOf({ attempts: 1, strategy: "frehs" })).toBe("ERR_UNKNOWN_STRATEGY");
    expect(codeOf({ attempts: 1, strategy: "xxxxxxxxx" })).toBe("ERR_UNKNOWN_STRATEGY");
    return withNative({ getsockopt: () => -ENOPROTOOPT }, () => {
      expect(codeOf({ attempts: 1, strategy: "range" })).toBe("ERR_OPTION_UNSUPPORTED");
      expect(codeOf({ attempts: 1, strategy: "bind" })).toBe(null);
    });
  });
});

it("trials are summed up over those that self-connected", () => {
  const trial = (verdict: Trial["verdict"], attempts: number) => ({ verdict, attempts, elapsedMs: attempts });
  const { attempts, elapsedMs } = summarizeTrials([trial("self-connect", 3), trial("attempts-spent", 9)]);
  expect([attempts?.max, elapsedMs?.max]).toEqual([3, 3]);
});
