/** connectMany() and each answer of the kernel, which the test makes up: what is asked, and what is reported. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import type { AttemptMessage, RejectedMessage } from "../../lib/guard/channels.ts";
import { ATTEMPT_CHANNEL, REJECTED_CHANNEL } from "../../lib/guard/channels.ts";
import { JOINED } from "../../lib/guard/connect-batch.ts";
import type { ConnectManyOptions, ConnectResult } from "../../lib/guard/connect-many.ts";
import { connectMany } from "../../lib/guard/connect-many.ts";
import type { Address } from "../../lib/socket/address.ts";
import { encodeAddress } from "../../lib/socket/address.ts";
import { IN_PROGRESS } from "../../lib/socket/connecting.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { connectAll, UNBOUNDED } from "../support/connect-all.ts";
import { deadPeer, LOOPBACK, requires, withNative } from "../support/harness.ts";
import { collectMessages } from "../support/messages.ts";

const native = loadNative();
const { ECONNREFUSED, EMFILE, EBADF } = os.constants.errno;
const LOCAL = { family: 4, host: LOOPBACK[4], port: 4711 } as const;
const at = (port: number): Address => ({ family: 4, host: LOOPBACK[4], port });

/** One connect that connectMany() asked for. */
interface Asked {
  readonly handle: object;
  readonly ranges: readonly number[];
}

/** A kernel that answers each connect in turn, and the last answer again; `made`: how many of a batch it makes. */
function makeAnswers(answers: readonly number[], made = (count: number) => count) {
  const asked: Asked[] = [];
  const left = [...answers];
  const connects: Native["connects"] = (handles, count, _peers, ranges, results, locals, elapsed) => {
    const some = made(count);
    for (let i = 0; i < some; i++) {
      const words = ranges.subarray(i * 21, i * 21 + 1 + 2 * ranges[i * 21]!);
      asked.push({ handle: handles[i]!, ranges: [...words.subarray(1)] });
      if (native.fd(handles[i]!) < 0) native.socket(handles[i]!, 4, 0);
      results[i] = left.length > 1 ? left.shift()! : left[0]!;
      locals.set(encodeAddress(LOCAL), i * 24);
      elapsed[i] = 2;
    }
    return some;
  };
  return { asked, connects };
}

const outcomes = (results: readonly ConnectResult[]) => results.map(({ outcome }) => outcome);

describe("a refused socket", () => {
  it("connects again, one address after another", async () => {
    const { asked, connects } = makeAnswers([-ECONNREFUSED]);
    await withNative({ connects }, () => connectAll([at(1), at(2), at(3)], { ...UNBOUNDED, concurrency: 1 }));
    expect(asked.map(({ handle }) => handle)).toEqual(Array(3).fill(asked[0]!.handle));
  });

  it("does not after another errno", async () => {
    const { asked, connects } = makeAnswers([-os.constants.errno.ETIMEDOUT]);
    await withNative({ connects }, () => connectAll([at(1), at(2)], { ...UNBOUNDED, concurrency: 1 }));
    expect(asked[0]!.handle).not.toBe(asked[1]!.handle);
  });

  it("gets the namespace's range back, or the range that was asked for, once it prevented a self-connect", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    const around = { low: peer.port - 100, high: peer.port + 100 };
    for (const [options, restored] of [
      [{}, [0, 0]],
      [{ localPortRange: around }, [around.low, around.high]],
    ] as const) {
      const { asked, connects } = makeAnswers([-ECONNREFUSED]);
      await withNative({ connects }, () =>
        connectAll([at(1), peer, at(2), at(3)], { ...UNBOUNDED, concurrency: 1, options }),
      );
      const ranges = asked.map((one) => one.ranges);
      expect(ranges[0], "no range outside the kernel's").toEqual([]);
      expect(ranges[1]!.length, "ranges without the peer's port").toBeGreaterThan(0);
      expect(ranges[2]).toEqual(restored);
      expect(ranges[3]).toEqual([]);
    }
  });
});

it("connects again what a batch had no descriptor for", async () => {
  const { asked, connects } = makeAnswers([-ECONNREFUSED], (count) => Math.ceil(count / 2));
  const results = await withNative({ connects }, () => connectAll([at(1), at(2), at(3), at(4), at(5)]));
  expect(outcomes(results)).toEqual(Array(5).fill("ECONNREFUSED"));
  expect(new Set(results.map(({ address }) => address.port))).toEqual(new Set([1, 2, 3, 4, 5]));
  expect(asked).toHaveLength(5);
});

describe("a local address", () => {
  const optionsSet = async (local: Address | string, options: ConnectManyOptions["options"] = {}) => {
    const set: string[] = [];
    const binds: { handle: object; port: number }[] = [];
    const peer = deadPeer();
    const { asked, connects } = makeAnswers([-ECONNREFUSED]);
    const setsockopt: Native["setsockopt"] = (_handle, row) => {
      set.push(native.options[row]!.name);
      return 0;
    };
    const bind: Native["bind"] = (handle, bytes) => {
      binds.push({ handle, port: bytes[2]! * 256 + bytes[3]! });
      return 0;
    };
    await withNative({ connects, setsockopt, bind }, () =>
      connectAll([peer], { ...UNBOUNDED, local, options }),
    );
    const [{ handle, ranges }] = asked as [Asked];
    // The route is asked with a UDP socket, which is bound too.
    const bound = binds.filter((one) => one.handle === handle).map(({ port }) => port);
    return { set, bound, ranges };
  };

  it("without a port is bound late, and with one is not; a fixed port has no other range", async (context) => {
    requires(context, "4.2", "bindAddressNoPort");
    expect(await optionsSet(LOOPBACK[4])).toMatchObject({ set: ["bindAddressNoPort"], bound: [0] });
    expect(await optionsSet(LOCAL)).toEqual({ set: [], bound: [4711], ranges: [] });
    const set = (await optionsSet(LOOPBACK[4], { noDelay: true, bindAddressNoPort: false })).set;
    expect(set, "the caller's options win").toEqual(["bindAddressNoPort", "noDelay"]);
  });

  it("that cannot have a socket is SocketError, of socket(2)", () =>
    withNative({ socket: () => -EMFILE }, () =>
      expect(connectAll([at(1)], { ...UNBOUNDED, local: LOOPBACK[4] })).rejects.toMatchObject({
        code: "EMFILE",
        syscall: "socket",
      }),
    ));

  it("that is the peer is rejected without a connect; without the guard it connects", async () => {
    const peer = deadPeer();
    const { asked, connects } = makeAnswers([JOINED]);
    await withNative({ connects }, async () => {
      const [message] = await collectMessages<RejectedMessage>(REJECTED_CHANNEL, async () =>
        expect(await connectAll([peer], { local: peer, guard: "detect" })).toEqual([
          { address: peer, outcome: "self-connect", local: peer, elapsedMs: 0 },
        ]),
      );
      expect(message).toMatchObject({
        attempt: { outcome: "self-connect", peer, local: peer },
        wasConnected: false,
      });
      expect(asked).toEqual([]);
      expect(outcomes(await connectAll([peer], { local: peer, guard: "off" }))).toEqual(["connected"]);
    });
  });
});

describe("a connect in progress", () => {
  /** With a poller that wakes when the test says. */
  const makePoller = (answers: readonly number[]) => {
    let wake = (_count: number) => {};
    let tokens = new Float64Array(0);
    const watched: number[] = [];
    let unwatched = 0;
    const calls: Partial<Native> = {
      ...makeAnswers(answers),
      reactorStart: (ready, into) => {
        [wake, tokens] = [ready, into as Float64Array<ArrayBuffer>];
        return 0;
      },
      watch: (_handle, token) => watched.push(token),
      unwatch: () => ++unwatched,
    };
    const wakeAll = () => {
      tokens.set(watched);
      wake(watched.length);
    };
    return { calls, watched, wakeAll, unwatched: () => unwatched };
  };

  it("is asked again when the poller reports it, and its time is that since its connect", async () => {
    const { calls, watched, wakeAll, unwatched } = makePoller([IN_PROGRESS, 0]);
    await withNative(calls, async () => {
      const reading = connectAll([at(1)]);
      await expect.poll(() => watched.length).toBe(1);
      wakeAll();
      const [result] = await reading;
      expect(result).toMatchObject({ outcome: "connected", local: LOCAL });
      expect(result!.elapsedMs).toBeGreaterThan(0);
      expect(result!.elapsedMs).toBeLessThan(performance.now());
      expect(unwatched()).toBe(1);
    });
  });

  it("ends at its deadline, and its socket is reset", async () => {
    const { calls, unwatched } = makePoller([IN_PROGRESS]);
    const reset: object[] = [];
    const countResets: Native["reset"] = (handle) => {
      reset.push(handle);
      return native.reset(handle);
    };
    await withNative({ ...calls, reset: countResets }, async () => {
      const results = await connectAll([at(1), at(2)], { ...UNBOUNDED, deadlineMs: 20 });
      expect(outcomes(results)).toEqual(["deadline", "deadline"]);
      for (const { elapsedMs } of results) {
        expect(elapsedMs).toBeGreaterThanOrEqual(20);
        expect(elapsedMs).toBeLessThan(performance.now());
      }
      expect(unwatched()).toBe(2);
      expect(reset).toHaveLength(2);
    });
  });

  it("that cannot be watched is the poller's errno", () =>
    withNative({ ...makePoller([IN_PROGRESS]).calls, watch: () => -EBADF }, () =>
      expect(connectAll([at(1)])).rejects.toMatchObject({ code: "EBADF", syscall: "epoll_ctl" }),
    ));
});

it("publishes each attempt, with its local address where there is one", async () => {
  const { connects } = makeAnswers([0, -ECONNREFUSED, JOINED]);
  const messages = await withNative({ connects }, () =>
    collectMessages<AttemptMessage>(ATTEMPT_CHANNEL, () => connectAll([at(1), at(2), at(3)])),
  );
  expect(messages.map(({ attempt }) => attempt)).toEqual([
    { outcome: "connected", peer: at(1), local: LOCAL, elapsedMs: 2 },
    { outcome: "ECONNREFUSED", peer: at(2), elapsedMs: 2 },
    { outcome: "self-connect", peer: at(3), local: LOCAL, elapsedMs: 2 },
  ]);
});

it.each([
  [{ concurrency: 1.5 }, "ERR_OUT_OF_RANGE"],
  [{ concurrency: Number.NaN }, "ERR_OUT_OF_RANGE"],
  [{ concurrency: Symbol("many") as never }, "ERR_OUT_OF_RANGE"],
  [{ perSecond: Object.create(null) }, "ERR_OUT_OF_RANGE"],
  [{ perSecond: -1 }, "ERR_OUT_OF_RANGE"],
  [{ deadlineMs: 2 ** 31 }, "ERR_INVALID_DEADLINE"],
  [{ deadlineMs: Number.NaN }, "ERR_INVALID_DEADLINE"],
])("%j is %s", (options, code) => {
  expect(() => connectMany([], options)).toThrow(expect.objectContaining({ code }));
});

it.each([
  { concurrency: 1 },
  { concurrency: Infinity },
  { deadlineMs: 0 },
  { deadlineMs: 2 ** 31 - 1 },
])("%j is allowed", async (options) => {
  expect(await connectAll([], options)).toEqual([]);
});
