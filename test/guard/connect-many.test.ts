/** connectMany() against the real kernel: each address once, bounded, guarded, and nothing left open. */
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { ConnectResult } from "../../lib/guard/connect-many.ts";
import { connectMany } from "../../lib/guard/connect-many.ts";
import type { Address } from "../../lib/socket/address.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { connectAll, UNBOUNDED } from "../support/connect-all.ts";
import { openDescriptors } from "../support/descriptors.ts";
import { deadPeer, FAMILIES, LOOPBACK, requires, withListener, withNative } from "../support/harness.ts";

/** Endless, and different: the hosts of 127.0.0.0/8. */
function* hosts(port: number): Generator<Address> {
  for (let n = 1; ; n++)
    yield { family: 4, host: `127.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`, port };
}

function* take<T>(count: number, from: Iterable<T>): Generator<T> {
  let left = count;
  for (const value of from) {
    if (left-- === 0) return;
    yield value;
  }
}

/** A listener whose queue is full: connects to it stay in progress. */
async function withSilentPeer(family: 4 | 6, use: (peer: Address) => Promise<void>): Promise<void> {
  const listener = TcpSocket.open(family).bind({ family, host: LOOPBACK[family], port: 0 }).listen(0);
  const filler = TcpSocket.open(family);
  filler.connect(listener.getsockname());
  await filler.connected();
  try {
    await use(listener.getsockname());
  } finally {
    filler.reset();
    listener.close();
  }
}

describe.each(FAMILIES)("connectMany over IPv%i", (family) => {
  it("yields a connected socket, and how each other connect ended", () =>
    withListener(
      family,
      () => undefined,
      async (live) => {
        const dead = deadPeer(family);
        const byOutcome: Record<string, ConnectResult> = {};
        for await (const result of connectMany([dead, live])) byOutcome[result.outcome] = result;
        const { connected, ECONNREFUSED: refused } = byOutcome;
        expect(refused).toMatchObject({ address: dead });
        expect(connected).toMatchObject({ address: live, local: connected!.socket!.getsockname() });
        expect(connected!.socket!.getpeername()).toEqual(live);
        expect(connected!.elapsedMs).toBeGreaterThan(0);
        connected!.socket!.reset();
      },
    ));

  it("control: without the guard a socket joined to itself is yielded", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer(family);
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    for await (const { socket, outcome } of connectMany([peer], { guard: "off", options })) {
      expect(outcome).toBe("connected");
      expect(socket!.isSelfConnected()).toBe(true);
      socket!.reset();
    }
  });

  it("resets a self-connect, and the port is free at once", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer(family);
    const options = { localPortRange: { low: peer.port, high: peer.port } };
    expect(await connectAll([peer], { guard: "detect", options })).toMatchObject([
      { address: peer, outcome: "self-connect", local: peer },
    ]);
    expect(listenRefusal(peer)).toBe(null);
  });

  it("keeps the kernel from picking the peer's port, on used sockets too", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peers = Array.from({ length: 40 }, () => deadPeer(family));
    const results = await connectAll(peers.map(({ port }) => ({ family, host: LOOPBACK[family], port })));
    expect(results.map(({ outcome }) => outcome)).not.toContain("self-connect");
    // Two ports to choose from, and one of them would be a self-connect.
    const { port } = peers[0]!;
    const options = { localPortRange: { low: port, high: port + 1 } };
    for (let i = 0; i < 20; i++) {
      expect(await connectAll([peers[0]!], { options })).toMatchObject([{ outcome: "ECONNREFUSED" }]);
    }
  });

  it("rejects a local port fixed to the peer's without a connect", async () => {
    const peer = deadPeer(family);
    expect(await connectAll([peer], { local: peer })).toMatchObject([
      { outcome: "self-connect", elapsedMs: 0 },
    ]);
  });

  it("ends a connect without a reply at its deadline", () =>
    withSilentPeer(family, async (peer) => {
      const [result] = await connectAll([peer], { deadlineMs: 50 });
      expect(result).toMatchObject({ address: peer, outcome: "deadline" });
      expect(result!.elapsedMs).toBeGreaterThanOrEqual(50);
    }));

  it("says what to do when no local port is free, and nothing about a refusal", async (context) => {
    requires(context, "6.3", "localPortRange");
    const { port } = deadPeer(family);
    const options = { localPortRange: { low: port, high: port } };
    await withListener(
      family,
      () => undefined,
      async (live) => {
        const holder = TcpSocket.open(family, options);
        holder.connect(live);
        await holder.connected();
        const [result] = await connectAll([live], { options });
        holder.reset();
        expect(result).toMatchObject({ outcome: "EADDRNOTAVAIL" });
        expect(result!.fix).toContain("no port of the ephemeral range is free towards this peer");
      },
    );
    const [refused] = await connectAll([deadPeer(family)]);
    expect(refused).toMatchObject({ outcome: "ECONNREFUSED" });
    expect(refused).not.toHaveProperty("fix");
  });

  it("connects from a local address, late-bound", async () => {
    const local = { family, host: LOOPBACK[family], port: 0 };
    await withListener(
      family,
      () => undefined,
      async (peer) => {
        const [result] = await connectAll([peer], { local });
        expect(result).toMatchObject({ outcome: "connected", local: { host: LOOPBACK[family] } });
      },
    );
  });
});

describe("the addresses of connectMany", () => {
  it("are connected to once each: text, object and IPv4-mapped form of one are duplicates", async () => {
    const peer = deadPeer();
    const text = `127.0.0.1:${peer.port}`;
    const results = await connectAll([peer, text, `[::ffff:127.0.0.1]:${peer.port}`, text, deadPeer(6)]);
    expect(results).toHaveLength(2);
  });

  it("may be endless, of either kind, and duplicates for ever do not block the event loop", async () => {
    let count = 0;
    for await (const { outcome } of connectMany(hosts(1), UNBOUNDED)) {
      expect(outcome).toBe("ECONNREFUSED");
      if (++count === 3000) break;
    }
    const same = (function* () {
      for (;;) yield "127.0.0.1:1";
    })();
    const signal = AbortSignal.timeout(50);
    await expect(connectAll(same, { ...UNBOUNDED, signal })).rejects.toThrow("timeout");
  });

  it("are taken from an asynchronous source, which is ended when the reader leaves", async () => {
    let isEnded = false;
    const source = (async function* () {
      try {
        for (const address of hosts(1)) {
          await sleep(0);
          yield address;
        }
      } finally {
        isEnded = true;
      }
    })();
    let count = 0;
    for await (const _ of connectMany(source, UNBOUNDED)) if (++count === 20) break;
    await expect.poll(() => isEnded).toBe(true);
  });

  it("return() does not wait for a source that is silent, and everything is closed", () =>
    withSilentPeer(4, async (silent) => {
      const before = openDescriptors();
      let isEnded = false;
      const source = {
        given: 0,
        [Symbol.asyncIterator]() {
          return this;
        },
        next() {
          // One that stays in progress, then nothing, for ever.
          if (this.given++ > 0) return new Promise<never>(() => {});
          return Promise.resolve({ value: silent, done: false as const });
        },
        async return() {
          isEnded = true;
          return { value: undefined, done: true as const };
        },
      };
      const results = connectMany(source);
      const next = results.next();
      while (openDescriptors().size === before.size || source.given < 2) await sleep(1);
      expect(await results.return()).toEqual({ value: undefined, done: true });
      expect(await next).toEqual({ value: undefined, done: true });
      expect(await results.next()).toEqual({ value: undefined, done: true });
      expect([openDescriptors(), isEnded]).toEqual([before, true]);
    }));

  it("return() before the first next() ends the source too", async () => {
    let isEnded = false;
    const source = {
      [Symbol.iterator]: () => ({
        next: () => ({ value: "127.0.0.1:9", done: false as const }),
        return: () => {
          isEnded = true;
          return { value: undefined, done: true as const };
        },
      }),
    };
    await connectMany(source as Iterable<string>).return();
    expect(isEnded).toBe(true);
  });

  it("that are wrong, and a source that fails, reject after the results before them", async () => {
    const failing = (async function* () {
      yield "127.0.0.1:1";
      throw new Error("disk full");
    })();
    const seen: ConnectResult[] = [];
    const read = async (source: Parameters<typeof connectMany>[0]) => {
      for await (const result of connectMany(source, UNBOUNDED)) seen.push(result);
    };
    await expect(read(failing)).rejects.toThrow("disk full");
    expect(seen).toHaveLength(1);
    const failingAtOnce = function* (error: unknown) {
      yield* ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];
      throw error;
    };
    seen.length = 0;
    await expect(read(failingAtOnce(new Error("disk full")))).rejects.toThrow("disk full");
    expect(seen.map(({ address }) => address.port)).toEqual([1, 2, 3]);
    await expect(read(["127.0.0.1:4", "host.test:80"])).rejects.toMatchObject({
      code: "ERR_INVALID_ADDRESS",
    });
    expect(seen.at(-1)!.address.port).toBe(4);
    const failingWithNothing = (async function* () {
      yield* failingAtOnce(undefined);
    })();
    await expect(read(failingWithNothing)).rejects.toBe(undefined);
    await expect(read(["host.test:80"])).rejects.toMatchObject({ code: "ERR_INVALID_ADDRESS" });
  });
});

describe("the bounds of connectMany", () => {
  it("hold: no more sockets than `concurrency`, also with a slow reader", () =>
    withListener(
      4,
      () => undefined,
      async () => {
        const listener = net.createServer().listen(0, "0.0.0.0");
        await new Promise((resolve) => listener.once("listening", resolve));
        const { port } = listener.address() as net.AddressInfo;
        listener.on("connection", (socket) => socket.on("error", () => undefined).destroy());
        const before = openDescriptors().size;
        const mine = () => [...openDescriptors().values()].length - before;
        for await (const { socket } of connectMany(take(60, hosts(port)), {
          concurrency: 4,
          perSecond: Infinity,
        })) {
          await sleep(1);
          // 4 of connectMany's, this one, and the listener's side of each.
          expect(mine()).toBeLessThanOrEqual(10);
          socket!.reset();
        }
        await new Promise((resolve) => listener.close(resolve));
      },
    ));

  it("hold: no more connects than `perSecond`, also after a stall", async () => {
    const times: number[] = [];
    for await (const _ of connectMany(take(40, hosts(1)), { perSecond: 200 })) {
      times.push(performance.now());
      if (times.length === 10) {
        const endsAt = performance.now() + 300;
        while (performance.now() < endsAt); // The event loop stalls.
      }
    }
    // 40 at 200 a second are 195 ms; a stall is made up for by 50 ms at most: 10 of the 60 that were due.
    const inBurst = times.filter((at) => at - times[10]! < 1).length;
    expect(times.at(-1)! - times[0]!).toBeGreaterThan(300);
    expect(inBurst).toBeLessThan(40 - 10);
  });

  it("are checked at once, and a misspelt name is a TypeError with the near miss", () => {
    const refuse = (options: object) => expect(() => connectMany([], options));
    refuse({ concurency: 4 }).toThrow('did you mean "concurrency"?');
    refuse({ concurrency: 0 }).toThrow("concurrency 0 is not a count");
    refuse({ perSecond: 0 }).toThrow("perSecond 0 is not a pace");
    refuse({ perSecond: "5" }).toThrow("perSecond 5 is not a pace");
    refuse({ deadlineMs: -1 }).toThrow("deadlineMs -1 is not a time");
    refuse({ guard: "of" }).toThrow('did you mean "off"?');
    expect(() => connectMany("127.0.0.1:1")).toThrow("must be iterable");
  });
});

describe("what connectMany leaves", () => {
  it("leaving the loop closes what connects and what was not taken", () =>
    withSilentPeer(4, (silent) =>
      withListener(
        4,
        () => undefined,
        async (live) => {
          const before = openDescriptors().size;
          const dead = deadPeer();
          for await (const { outcome } of connectMany([silent, dead, live], UNBOUNDED)) {
            expect(outcome).toBe("ECONNREFUSED");
            break;
          }
          await expect.poll(() => openDescriptors().size).toBe(before);
        },
      ),
    ));

  it("an abort ends it while the reader waits, and before it starts", () =>
    withSilentPeer(4, async (silent) => {
      const reason = new Error("enough");
      const controller = new AbortController();
      const reading = connectAll([silent], { signal: controller.signal });
      await sleep(10);
      controller.abort(reason);
      await expect(reading).rejects.toBe(reason);
      await expect(connectAll([silent], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    }));

  it("a source that aborts it while it runs ends it by the reason", async () => {
    const reason = new Error("enough");
    const controller = new AbortController();
    function* source() {
      yield deadPeer();
      controller.abort(reason);
    }
    await expect(connectAll(source(), { signal: controller.signal })).rejects.toBe(reason);
  });

  it("no descriptor for the next socket is SocketError EMFILE that names the fix", async () => {
    const connects = () => -24;
    await withNative({ connects }, () =>
      expect(connectAll([deadPeer()])).rejects.toMatchObject({
        code: "EMFILE",
        syscall: "socket",
        message: expect.stringContaining("lower concurrency"),
      }),
    );
  });

  it("a kernel that lets no refused socket connect again gets a new socket for each", async () => {
    const real = loadNative();
    const used = new Set<object>();
    let again = 0;
    const connects: typeof real.connects = (handles, count, peers, ranges, results, locals, elapsed) => {
      const wasUsed = handles.map((handle) => used.has(handle));
      const made = real.connects(handles, count, peers, ranges, results, locals, elapsed);
      for (const [i, handle] of handles.entries()) {
        used.add(handle);
        if (wasUsed[i]) results[i] = -103;
        if (wasUsed[i]) again++;
      }
      return made;
    };
    await withNative({ connects }, async () => {
      const results = await connectAll(take(200, hosts(1)));
      expect(results.map(({ outcome }) => outcome)).toEqual(Array(200).fill("ECONNREFUSED"));
    });
    expect(again).toBeGreaterThan(0);
    expect(again).toBeLessThanOrEqual(64);
  });
});
