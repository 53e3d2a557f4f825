/** dial() against the real kernel. A range of one port forces the self-connect. */

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import dns from "node:dns/promises";
import os from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import { delayMs } from "../../lib/guard/backoff.ts";
import type { AttemptMessage, RejectedMessage } from "../../lib/guard/channels.ts";
import type { DialOptions } from "../../lib/guard/dial.ts";
import { dial } from "../../lib/guard/dial.ts";
import { preventiveRanges } from "../../lib/guard/prevention.ts";
import type { Address } from "../../lib/socket/address.ts";
import type { Attempt } from "../../lib/socket/errors.ts";
import { DialError, SocketError } from "../../lib/socket/errors.ts";
import { listenRefusal } from "../../lib/socket/listen-refusal.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import {
  deadPeer,
  FAMILIES,
  needsNamespaces,
  requires,
  runInNamespace,
  withListener,
  withNative,
} from "../support/harness.ts";

/** Options that leave the kernel only one local port to pick: the peer's. */
function onlyPortOf({ port }: Address): NonNullable<DialOptions["options"]> {
  return { localPortRange: { low: port, high: port } };
}

const AT_ONCE = { kind: "fixed", delayMs: 0 } as const;

/** The fields of SocketError and DialError that the tests read. */
type Refusal = Error & {
  readonly code: string;
  readonly local?: Address;
  readonly attempts: readonly Attempt[];
};

async function refusalOf(promise: Promise<unknown>): Promise<Refusal> {
  return promise.then(
    () => expect.unreachable("it must not connect"),
    (error) => error,
  );
}

describe.each(FAMILIES)("dial over IPv%i", (family) => {
  it("connects to a listener and returns the attempt", () =>
    withListener(
      family,
      (socket) => socket.end(),
      async (peer) => {
        const { socket, attempts, local } = await dial(peer);
        expect(attempts).toMatchObject([{ outcome: "connected", peer, local }]);
        expect(socket.getsockname()).toEqual(local);
        socket.close();
      },
    ));

  it("control: without the guard the caller gets a socket joined to itself, and its port is taken", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer(family);
    const { socket } = await dial(peer, { guard: "off", options: onlyPortOf(peer) });
    expect(socket.isSelfConnected()).toBe(true);
    expect(listenRefusal(peer)).toBe("EADDRINUSE");
    socket.reset();
  });

  it("never returns a self-connect, reports the attempts, and leaves the port free at once", async (context) => {
    requires(context, "6.3", "localPortRange");
    for (const attempts of [1, 2, 3, 10]) {
      const peer = deadPeer(family);
      const error = await refusalOf(dial(peer, { options: onlyPortOf(peer), attempts }));
      expect(listenRefusal(peer)).toBe(null);
      expect(error).toBeInstanceOf(DialError);
      expect(error.code).toBe("ERR_SELF_CONNECT");
      expect(error.attempts.map((attempt) => attempt.outcome)).toEqual(Array(attempts).fill("self-connect"));
      expect(error.message).toContain(`${attempts} of ${attempts} attempt`);
    }
  });

  it("refuses a local port equal to the peer's before any connect", async () => {
    const peer = deadPeer(family);
    const error = await refusalOf(dial(peer, { local: peer }));
    const message = expect.stringContaining("the local port is the peer's own");
    const unspecified = { ...peer, host: family === 4 ? "0.0.0.0" : "::" };
    const refused = { code: "ERR_SELF_CONNECT", message };
    expect(error).toMatchObject(refused);
    expect(await refusalOf(dial(peer, { local: unspecified }))).toMatchObject(refused);
    const { socket } = await dial(peer, { local: peer, guard: "off" });
    expect(socket.isSelfConnected()).toBe(true);
    socket.reset();
  });

  it("keeps the kernel from picking the peer's port after a bind to port 0", async (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer(family);
    const local = { ...peer, port: 0 };
    // Two ports to choose from, and one of them would be a self-connect.
    const options = { localPortRange: { low: peer.port, high: peer.port + 1 } };
    for (let i = 0; i < 20; i++) {
      const error = await refusalOf(dial(peer, { local, options }));
      expect(error.code).toBe("ECONNREFUSED");
      expect(error.local?.port).toBe(peer.port + 1);
    }
  });
});

describe("what dial reports", () => {
  it("reports the kernel's errno with both addresses", async () => {
    const peer = deadPeer();
    const error = await refusalOf(dial(peer));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: "ECONNREFUSED", syscall: "connect", peer });
  });

  it("tries again after each errno in retryOn, and then rejects with ERR_ATTEMPTS", async () => {
    const peer = deadPeer();
    const error = await refusalOf(dial(peer, { attempts: 4, retryOn: ["ECONNREFUSED"], backoff: AT_ONCE }));
    expect(error.code).toBe("ERR_ATTEMPTS");
    expect(error.attempts).toHaveLength(4);
    expect(error.cause).toMatchObject({ code: "ECONNREFUSED" });
  });

  it("ends at the deadline, also during a wait", async () => {
    const backoff = { kind: "fixed", delayMs: 20_000 } as const;
    const error = await refusalOf(
      dial(deadPeer(), { attempts: 9, retryOn: ["ECONNREFUSED"], backoff, deadlineMs: 50 }),
    );
    expect(error.code).toBe("ERR_DEADLINE");
    expect(error.attempts).toHaveLength(1);
  });

  it("ends when the signal aborts, before the dial and during a wait", async () => {
    const reason = new Error("enough");
    await expect(dial(deadPeer(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const backoff = { kind: "fixed", delayMs: 20_000 } as const;
    const onAttempt = () => setImmediate(() => controller.abort(reason));
    const dialing = dial(deadPeer(), {
      retryOn: ["ECONNREFUSED"],
      backoff,
      signal: controller.signal,
      onAttempt,
    });
    await expect(dialing).rejects.toBe(reason);
  });

  it("resolves a name and connects to one of its addresses", () =>
    withListener(
      4,
      (socket) => socket.end(),
      async ({ port }) => {
        const { socket, peer } = await dial(`localhost:${port}`);
        expect(peer.port).toBe(port);
        socket.close();
        await expect(dial("name.invalid:80")).rejects.toMatchObject({ syscall: "getaddrinfo" });
      },
    ));

  it("publishes every attempt and every rejection on diagnostics_channel", async (context) => {
    requires(context, "6.3", "localPortRange");
    const seen: string[] = [];
    const onAttempt = (message: unknown) => seen.push((message as AttemptMessage).attempt.outcome);
    const onRejected = (message: unknown) =>
      seen.push(`rejected ${(message as RejectedMessage).wasConnected}`);
    subscribe("selfconnect:attempt", onAttempt);
    subscribe("selfconnect:rejected", onRejected);
    const peer = deadPeer();
    await refusalOf(dial(peer, { options: onlyPortOf(peer), attempts: 2 }));
    await refusalOf(dial(peer, { local: peer }));
    unsubscribe("selfconnect:attempt", onAttempt);
    unsubscribe("selfconnect:rejected", onRejected);
    const rejected = ["self-connect", "rejected true"];
    expect(seen).toEqual([...rejected, ...rejected, "self-connect", "rejected false"]);
  });

  it("rejects wrong arguments at once, by name", async () => {
    await expect(dial("127.0.0.1")).rejects.toMatchObject({ code: "ERR_INVALID_ADDRESS" });
    await expect(dial("127.0.0.1:80", { attempts: 0 })).rejects.toMatchObject({ code: "ERR_OUT_OF_RANGE" });
    await expect(dial("127.0.0.1:80", { deadlineMs: -1 })).rejects.toMatchObject({
      code: "ERR_INVALID_DEADLINE",
    });
    const backoff = { kind: "linear" } as never;
    await expect(dial("127.0.0.1:80", { backoff })).rejects.toMatchObject({ code: "ERR_INVALID_BACKOFF" });
    const misspelt = { options: { noDelya: true } } as never;
    await expect(dial("127.0.0.1:80", misspelt)).rejects.toThrow(/did you mean "noDelay"/);
  });
});

describe("prevention", () => {
  it("is for addresses of this host and ports of the ephemeral range only", (context) => {
    requires(context, "6.3", "localPortRange");
    const peer = deadPeer();
    expect(preventiveRanges(peer, "prevent")).not.toEqual([]);
    expect(preventiveRanges({ ...peer, family: 6, host: "::ffff:127.0.0.1" }, "prevent")).not.toEqual([]);
    expect(preventiveRanges({ ...peer, port: peer.port + 1 }, "prevent"), "parity prevents").toEqual([]);
    expect(preventiveRanges(peer, "detect")).toEqual([]);
    expect(preventiveRanges({ ...peer, port: 1 }, "prevent")).toEqual([]);
    // 198.18.0.0/15 is for benchmarks of network devices (RFC 2544): no host has such an address.
    expect(preventiveRanges({ ...peer, host: "198.18.0.1" }, "prevent")).toEqual([]);
  });
});

describe("an exhausted range", () => {
  /** A program that opens connections by dial() or connect() until one fails, and prints the error and the ports. */
  const program = (way: "dial" | "connect") => `
    import net from "node:net";
    import { once } from "node:events";
    import { dial, connect } from ${JSON.stringify(new URL("../../dist/index.js", import.meta.url).href)};
    const port = 40002;
    const ways = {
      dial: async () => (await dial("127.0.0.1:" + port)).socket.getsockname().port,
      connect: async () => {
        const stream = connect(port, "127.0.0.1");
        await once(stream, "connect");
        return stream.localPort;
      },
    };
    net.createServer().listen(port, "127.0.0.1", async () => {
      const ports = [];
      for (;;) {
        try { ports.push(await ways.${way}()); }
        catch ({ code, message, stack }) {
          console.log(JSON.stringify({ code, message, stack, ports: ports.sort() }));
          process.exit();
        }
      }
    });`;

  it.for([
    "dial",
    "connect",
  ] as const)("%s fails only after it has used every port but the peer's", async (way, context) => {
    needsNamespaces(context);
    requires(context, "6.3", "localPortRange");
    const file = ["--input-type=module", "-e", program(way)];
    const { stdout, stderr } = await runInNamespace("40000 40007", process.execPath, file);
    expect(stderr).toBe("");
    const { code, message, stack, ports } = JSON.parse(stdout);
    expect(ports).toEqual([40000, 40001, 40003, 40004, 40005, 40006, 40007]);
    expect(code).toBe("EADDRNOTAVAIL");
    if (way === "dial")
      expect(message).toContain("8 of the 8 ports of the ephemeral range 40000-40007 are in use");
    else {
      expect(message).toMatch(/^connect EADDRNOTAVAIL 127\.0\.0\.1:40002/);
      expect(message).toContain("no port of the ephemeral range is free towards this peer");
      expect(stack).toContain(message);
    }
  });
});

describe("a spurious EADDRNOTAVAIL", () => {
  /** Runs `use` with a connect(2) that fails `times` times with EADDRNOTAVAIL, although nearly all ports are free. */
  function withRaces<T>(times: number, use: () => Promise<T>): Promise<T> {
    const native = loadNative();
    let left = times;
    const connect: Native["connect"] = (socket, peer) =>
      left-- > 0 ? -os.constants.errno.EADDRNOTAVAIL : native.connect(socket, peer);
    return withNative({ connect }, use);
  }
  const outcomes = (attempts: readonly Attempt[]) => attempts.map(({ outcome }) => outcome);

  it("leads to another attempt, also without retryOn", () =>
    withListener(
      4,
      (socket) => socket.end(),
      async (peer) => {
        const { socket, attempts } = await withRaces(2, () => dial(peer, { guard: "detect" }));
        expect(outcomes(attempts)).toEqual(["EADDRNOTAVAIL", "EADDRNOTAVAIL", "connected"]);
        socket.close();
      },
    ));

  it("is not an attempt where the other preventive range has a free port", async (context) => {
    requires(context, "6.3", "localPortRange");
    const error = await refusalOf(withRaces(1, () => dial(deadPeer())));
    expect(error.code).toBe("ECONNREFUSED");
  });

  it("leads to no more than `attempts` attempts, and the error counts the ports in use", async () => {
    const error = await refusalOf(withRaces(9, () => dial(deadPeer(), { guard: "detect", attempts: 2 })));
    expect(error.code).toBe("ERR_ATTEMPTS");
    expect(outcomes(error.attempts)).toEqual(["EADDRNOTAVAIL", "EADDRNOTAVAIL"]);
    expect(String((error.cause as Error).message)).toMatch(/of the \d+ ports of the ephemeral range/);
  });
});

describe("while a name is being resolved", () => {
  const peer = "name.test:80";
  afterEach(() => void vi.restoreAllMocks());

  /** Replaces dns.lookup() by one that never returns an address. */
  function silenceLookup() {
    return vi.spyOn(dns, "lookup").mockImplementation((() => new Promise(() => {})) as never);
  }

  it("the deadline ends the dial", async () => {
    const lookup = silenceLookup();
    const error = await refusalOf(dial(peer, { deadlineMs: 20 }));
    expect(error).toMatchObject({ code: "ERR_DEADLINE", attempts: [] });
    expect(error.message).toContain(peer);
    expect(lookup).toHaveBeenCalledOnce();
  });

  it("an abort ends it with the signal's reason, with and without a deadline", async () => {
    const reason = new Error("enough");
    for (const limits of [{}, { deadlineMs: 20_000 }]) {
      silenceLookup();
      const controller = new AbortController();
      const dialing = dial(peer, { ...limits, signal: controller.signal });
      setImmediate(() => controller.abort(reason));
      await expect(dialing).rejects.toBe(reason);
    }
  });

  it("an error of the resolver that retryOn names is followed by another lookup", () =>
    withListener(
      4,
      (socket) => socket.end(),
      async ({ host, port }) => {
        const unknown = Object.assign(new Error("not yet"), { code: "ENOTFOUND" });
        const lookup = vi.spyOn(dns, "lookup").mockRejectedValueOnce(unknown);
        lookup.mockResolvedValue([{ address: host, family: 4 }] as never);
        const { socket } = await dial(`name.test:${port}`, { retryOn: ["ENOTFOUND"], backoff: AT_ONCE });
        expect(lookup).toHaveBeenCalledTimes(2);
        socket.close();
        lookup.mockReset().mockRejectedValue(unknown);
        await expect(dial(peer)).rejects.toBe(unknown);
        const thrice = dial(peer, { retryOn: ["ENOTFOUND"], backoff: AT_ONCE });
        await expect(thrice).rejects.toBe(unknown);
        expect(lookup).toHaveBeenCalledTimes(4);
      },
    ));

  it("control: a name that is resolved in time is dialled under the same limits", () =>
    withListener(
      4,
      (socket) => socket.end(),
      async ({ host, port }) => {
        vi.spyOn(dns, "lookup").mockResolvedValue([{ address: host, family: 4 }] as never);
        const { signal } = new AbortController();
        const { socket } = await dial(`name.test:${port}`, { deadlineMs: 20_000, signal });
        socket.close();
      },
    ));
});

describe("backoff", () => {
  it("doubles up to mostMs, and subtracts a random part", () => {
    const backoff = { kind: "exponential", firstMs: 10, mostMs: 100 } as const;
    expect([1, 2, 3, 4, 5, 50].map((made) => delayMs(backoff, made, 0))).toEqual([10, 20, 40, 80, 100, 100]);
    expect(delayMs(backoff, 3, 0.5)).toBe(20);
    expect(delayMs({ ...backoff, jitter: 0 }, 3, 0.5)).toBe(40);
    expect(delayMs({ kind: "fixed", delayMs: 7 }, 9)).toBe(7);
    expect(delayMs(undefined, 9)).toBe(0);
  });
});
