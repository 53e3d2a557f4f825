/** Which addresses dial() tries, in which order, and from which local addresses. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readdirSync } from "node:fs";
import os from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import { REJECTED_CHANNEL } from "../../lib/guard/channels.ts";
import type { Peer } from "../../lib/guard/dial.ts";
import { dial } from "../../lib/guard/dial.ts";
import type { Address } from "../../lib/socket/address.ts";
import { ADDRESS_BYTES } from "../../lib/socket/address.ts";
import { PROVEN_APART } from "../../lib/socket/connecting.ts";
import type { Attempt } from "../../lib/socket/errors.ts";
import type { Native } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import { TcpSocket } from "../../lib/socket/socket.ts";
import { AT_ONCE, errorOf, resolveTo, withAnswers, withSilentPeer } from "../support/dials.ts";
import { deadPeer, FAMILIES, LOOPBACK, withListener, withNative } from "../support/harness.ts";

const { EADDRNOTAVAIL, EHOSTUNREACH, ENETUNREACH } = os.constants.errno;

afterEach(() => void vi.restoreAllMocks());

const kernel = loadNative();
/** The kernel's connectProgress without its proof that a connection has another end. */
const connectProgress: Native["connectProgress"] = (handle) => {
  const progress = kernel.connectProgress(handle);
  return progress === PROVEN_APART ? 0 : progress;
};

const countDescriptors = () => readdirSync("/proc/self/fd").length;

describe("the addresses of a name", () => {
  it("are tried in turn, and the first error is thrown", () =>
    withAnswers([-ENETUNREACH, -EHOSTUNREACH], async () => {
      const lookup = resolveTo("::1", "127.0.0.1");
      const attempts: Attempt[] = [];
      const onAttempt = (attempt: Attempt) => void attempts.push(attempt);
      const error = await errorOf(dial("name.test:4711", { onAttempt }));
      expect(error).toMatchObject({ code: "ENETUNREACH", peer: { host: "::1", port: 4711 } });
      expect(attempts.map(({ outcome, peer }) => [outcome, peer.host])).toEqual([
        ["ENETUNREACH", "::1"],
        ["EHOSTUNREACH", "127.0.0.1"],
      ]);
      expect(lookup).toHaveBeenCalledWith("name.test", { all: true, family: 0 });
    }));

  it("a self-connect is thrown, whichever address it had", async () => {
    const local = deadPeer(4);
    resolveTo("127.0.0.2", "127.0.0.1");
    const error = await errorOf(dial(`name.test:${local.port}`, { local }));
    expect(error.code).toBe("ERR_SELF_CONNECT");
    expect(error.attempts.map(({ outcome }) => outcome)).toContain("self-connect");
  });

  it("are of the local address's family", async () => {
    const lookup = resolveTo("::1");
    await errorOf(dial(`name.test:${deadPeer(6, "other").port}`, { local: "[::1]:0" }));
    expect(lookup).toHaveBeenCalledWith("name.test", { all: true, family: 6 });
  });

  it("the ones after a connection are not tried", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        resolveTo("127.0.0.1", "127.0.0.2");
        const { socket, attempts, peer } = await dial(`name.test:${port}`);
        expect([attempts.length, peer.host]).toEqual([1, "127.0.0.1"]);
        socket.close();
      },
    ));

  it("the ones after the deadline or an abort are not tried", async () => {
    const { port } = deadPeer(4, "other");
    const backoff = { kind: "fixed", delayMs: 1000 } as const;
    resolveTo("127.0.0.1", "127.0.0.2");
    const late = await errorOf(
      dial(`name.test:${port}`, { deadlineMs: 100, backoff, retryOn: ["ECONNREFUSED"] }),
    );
    expect(late.code).toBe("ERR_DEADLINE");
    expect(late.attempts.map(({ peer }) => peer.host)).toEqual(["127.0.0.1", "127.0.0.2"]);
    const abort = new AbortController();
    const attempts: Attempt[] = [];
    const onAttempt = (attempt: Attempt) => {
      attempts.push(attempt);
      abort.abort(new Error("enough"));
    };
    await errorOf(dial(`name.test:${port}`, { signal: abort.signal, onAttempt }));
    expect(attempts).toHaveLength(1);
  });
});

/** Time for a lane to begin that must not begin. */
const A_WHILE_MS = 60;

describe("happy eyeballs", () => {
  it("control: a silent address alone costs the whole deadline", () =>
    withSilentPeer(async ({ port }) => {
      const error = await errorOf(dial(`127.0.0.1:${port}`, { deadlineMs: 300 }));
      expect(error.code).toBe("ERR_DEADLINE");
    }));

  it("the next address begins while the first is silent, wins, and the first is reset and reported", () =>
    withSilentPeer(async ({ port }) => {
      using served = TcpSocket.open(4).bind(`127.0.0.2:${port}`).listen();
      resolveTo("127.0.0.1", "127.0.0.2");
      const seen: Attempt[] = [];
      const onAttempt = (attempt: Attempt) => void seen.push(attempt);
      const before = countDescriptors();
      const { socket, peer, attempts } = await dial(`name.test:${port}`, {
        ...{ deadlineMs: 20_000, nextAddressMs: 10, onAttempt },
      });
      expect(countDescriptors() - before, "the one that won").toBe(1);
      expect(peer).toEqual(served.getsockname());
      expect(attempts.map(({ outcome, peer }) => [outcome, peer.host])).toEqual([
        ["abandoned", "127.0.0.1"],
        ["connected", "127.0.0.2"],
      ]);
      expect(seen).toEqual(attempts);
      socket.close();
    }));

  it("waits nextAddressMs before it begins the next one", () =>
    withSilentPeer(async ({ port }) => {
      resolveTo("127.0.0.1", "127.0.0.2");
      const limits = { deadlineMs: A_WHILE_MS };
      const one = await errorOf(dial(`name.test:${port}`, limits));
      expect(one.attempts.map(({ peer }) => peer.host)).toEqual(["127.0.0.1"]);
      const two = await errorOf(dial(`name.test:${port}`, { ...limits, nextAddressMs: 10 }));
      expect(two.attempts.map(({ outcome }) => outcome).sort()).toEqual(["ECONNREFUSED", "deadline"]);
      expect(two.code).toBe("ERR_DEADLINE");
    }));

  it("begins the next one at once when an attempt has failed, also while that one waits for its next", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        resolveTo("127.0.0.2", "127.0.0.1");
        const backoff = { kind: "fixed", delayMs: 20_000 } as const;
        const waits = { backoff, retryOn: ["ECONNREFUSED"] as const, nextAddressMs: 2000, deadlineMs: 1000 };
        const { socket, attempts } = await dial(`name.test:${port}`, waits);
        expect(attempts.map(({ outcome }) => outcome)).toEqual(["ECONNREFUSED", "connected"]);
        socket.close();
      },
    ));

  it("takes the families in turn, beginning with that of the first address", () =>
    withAnswers(Array(5).fill(-ENETUNREACH), async () => {
      resolveTo("::1", "::2", "::3", "127.0.0.1", "127.0.0.2");
      const hosts: string[] = [];
      await errorOf(dial("name.test:4711", { onAttempt: ({ peer }) => void hosts.push(peer.host) }));
      expect(hosts).toEqual(["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]);
    }));

  it("a self-connect at one address is not the winner, and the other address is", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        using served = TcpSocket.open(4).bind(`127.0.0.2:${port}`).listen();
        resolveTo("127.0.0.1", "127.0.0.2");
        const native = loadNative();
        /** Every socket that is connected to 127.0.0.1 is joined to itself. */
        const isJoined: Native["isJoined"] = (handle) => {
          const peer = new Uint8Array(ADDRESS_BYTES);
          native.getpeername(handle, peer);
          return Number(peer[11] === 1);
        };
        await withNative({ isJoined, connectProgress }, async () => {
          const { socket, peer, attempts } = await dial(`name.test:${port}`, { guard: "detect" });
          expect(peer).toEqual(served.getsockname());
          expect(attempts[0]).toMatchObject({ outcome: "self-connect", peer: { host: "127.0.0.1" } });
          socket.reset();
          const control = await dial(`name.test:${port}`, { guard: "off" });
          expect(control.peer.host).toBe("127.0.0.1");
          control.socket.reset();
        });
      },
    ));

  it("of two that connect at the same moment the first wins, and the other is reset and reported", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async ({ port }) => {
        using served = TcpSocket.open(4).bind(`127.0.0.2:${port}`).listen();
        resolveTo("127.0.0.1", "127.0.0.2");
        let connected = () => {};
        const both = new Promise<void>((resolve) => (connected = resolve));
        let begun = 0;
        vi.spyOn(TcpSocket.prototype, "connected").mockImplementation(async function (this: TcpSocket) {
          if (++begun === 2) connected();
          await both;
          return this;
        });
        const reset = vi.fn(loadNative().reset);
        const rejected = vi.fn();
        subscribe(REJECTED_CHANNEL, rejected);
        const { socket, peer, attempts } = await withNative({ reset }, () =>
          dial(`name.test:${port}`, { nextAddressMs: 10 }),
        ).finally(() => unsubscribe(REJECTED_CHANNEL, rejected));
        expect(reset).toHaveBeenCalledOnce();
        expect(rejected, "it is no self-connect").not.toHaveBeenCalled();
        expect(peer).toEqual({ ...served.getsockname(), host: "127.0.0.1" });
        expect(attempts.map(({ outcome, peer }) => [outcome, peer.host])).toEqual([
          ["abandoned", "127.0.0.2"],
          ["connected", "127.0.0.1"],
        ]);
        socket.reset();
      },
    ));

  it("a self-connect is the verdict, not the deadline that another address reached", () =>
    withSilentPeer(async ({ port }) => {
      using _served = TcpSocket.open(4).bind(`127.0.0.2:${port}`).listen();
      resolveTo("127.0.0.1", "127.0.0.2");
      await withNative({ isJoined: () => 1, connectProgress }, async () => {
        const options = { deadlineMs: 200, nextAddressMs: 10, attempts: 1, guard: "detect" } as const;
        const error = await errorOf(dial(`name.test:${port}`, options));
        expect(error.code).toBe("ERR_SELF_CONNECT");
        expect(error.attempts.map(({ outcome }) => outcome)).toEqual(["self-connect", "deadline"]);
      });
    }));

  it("with a fixed local port one follows the other, because two sockets cannot have it", () =>
    withSilentPeer(async ({ port }) => {
      resolveTo("127.0.0.1", "127.0.0.2");
      const local = `127.0.0.1:${deadPeer(4, "other").port}`;
      const error = await errorOf(
        dial(`name.test:${port}`, { local, nextAddressMs: 10, deadlineMs: A_WHILE_MS }),
      );
      expect(error.attempts.map(({ outcome }) => outcome)).toEqual(["deadline"]);
    }));

  it.each([9, 2001, Number.NaN, -1])("nextAddressMs %s is refused", async (nextAddressMs) => {
    expect(await errorOf(dial(deadPeer(), { nextAddressMs }))).toMatchObject({ code: "ERR_OUT_OF_RANGE" });
  });
});

describe("several local addresses", () => {
  const sources = ["127.0.0.2", "127.0.0.3:0", { family: 4, host: "127.0.0.4" }] as const;

  it("are taken in turn by every dial with the same list, and by each attempt", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        const hosts: string[] = [];
        for (let i = 0; i < 6; i++) {
          const { socket, local } = await dial(peer, { local: sources });
          hosts.push(local.host);
          socket.reset();
        }
        expect(hosts.slice(0, 3)).toEqual(hosts.slice(3));
        expect([...hosts.slice(0, 3)].sort()).toEqual(["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
        const retried = { retryOn: ["ECONNREFUSED"] as const, backoff: AT_ONCE, local: sources };
        const error = await errorOf(dial(deadPeer(4, "other"), retried));
        expect(new Set(error.attempts.map(({ local }) => local?.host)).size).toBe(3);
      },
    ));

  it("one without a free port is passed over, and costs no attempt", () =>
    withListener(
      4,
      (socket) => socket.resume(),
      async (peer) => {
        const { attempts, socket } = await withAnswers([-EADDRNOTAVAIL, -EADDRNOTAVAIL], () =>
          dial(peer, { local: sources, attempts: 1, guard: "detect" }),
        );
        expect(attempts.map(({ outcome }) => outcome)).toEqual([
          ...["EADDRNOTAVAIL", "EADDRNOTAVAIL", "connected"],
        ]);
        socket.reset();
      },
    ));

  it("one that is refused is not passed over, and each without a free port only once", async () => {
    const once = await errorOf(dial(deadPeer(4, "other"), { local: sources, guard: "detect" }));
    expect(once).toMatchObject({ code: "ECONNREFUSED" });
    const attempts: Attempt[] = [];
    const onAttempt = (attempt: Attempt) => void attempts.push(attempt);
    await withAnswers(Array(9).fill(-EADDRNOTAVAIL), () =>
      errorOf(dial(deadPeer(), { local: sources, attempts: 1, guard: "detect", onAttempt })),
    );
    expect(attempts).toHaveLength(sources.length);
  });

  it("are those of the peer's family", () =>
    withListener(
      6,
      (socket) => socket.resume(),
      async (peer) => {
        const { socket, local } = await dial(peer, { local: ["127.0.0.2", "::1"] });
        expect(local.host).toBe("::1");
        socket.reset();
      },
    ));

  it.each([[[]], [["nowhere"]], [[null]], [null], [7]])("%j is refused", async (local) => {
    const error = await errorOf(dial(deadPeer(), { local: local as never }));
    expect(error).toMatchObject({ code: "ERR_INVALID_ADDRESS" });
  });
});

describe("the forms of a peer", () => {
  it.each([
    "localhost",
    "a.b-c.test",
    "a_b",
    "_srv.test",
    "host9",
    "a",
    "1.2.3.test",
    "trailing.dot.",
  ])("%s is a name", async (name) => {
    const lookup = resolveTo("127.0.0.1");
    await errorOf(dial(`${name}:${deadPeer(4, "other").port}`));
    expect(lookup).toHaveBeenCalledWith(name, expect.anything());
  });

  it.each([
    "256.1.1.1:80",
    "1.2.3:80",
    "-a:80",
    "a-:80",
    "a b:80",
    "a:80x",
    "xa:",
    "[::1:80",
  ])("%s is neither a name nor an address", async (peer) => {
    const lookup = resolveTo("127.0.0.1");
    expect(await errorOf(dial(peer))).toMatchObject({ code: expect.stringMatching(/^ERR_INVALID_/) });
    expect(lookup).not.toHaveBeenCalled();
  });

  it("an invalid port is refused before the name is resolved", async () => {
    const lookup = resolveTo("127.0.0.1");
    expect((await errorOf(dial("name.test:70000"))).code).toMatch(/^ERR_/);
    expect(lookup).not.toHaveBeenCalled();
  });

  it.each([
    "[fe80::7%lo]:80",
    { host: "fe80::7", scope: "lo", port: 80 },
    { host: "fe80::7%lo", port: 80 },
  ])("a numeric host is not resolved, and keeps its scope: %j", async (target) => {
    const lookup = resolveTo("127.0.0.1");
    const peers: Address[] = [];
    const onAttempt = ({ peer }: Attempt) => void peers.push(peer);
    await withAnswers([-ENETUNREACH], () => errorOf(dial(target as Peer, { onAttempt })));
    expect(peers).toMatchObject([{ host: "fe80::7", scope: "lo" }]);
    expect(lookup).not.toHaveBeenCalled();
  });
});

describe("the host of an object", () => {
  it.each(["name.test", "127.0.0.1"])("%s is a name, or else an address", async (host) => {
    const lookup = resolveTo("127.0.0.1");
    const { port } = deadPeer(4, "other");
    expect(await errorOf(dial({ host, port }))).toMatchObject({
      code: "ECONNREFUSED",
      peer: { family: 4, host: "127.0.0.1", port },
    });
    expect(lookup).toHaveBeenCalledTimes(host === "name.test" ? 1 : 0);
  });

  it.each([
    null,
    5,
    { host: 5, port: 80 },
    { family: 4, host: "name.test", port: 80 },
  ])("%j has none", async (peer) => {
    const lookup = resolveTo("127.0.0.1");
    expect(await errorOf(dial(peer as never))).toMatchObject({ code: "ERR_INVALID_ADDRESS" });
    expect(lookup).not.toHaveBeenCalled();
  });
});

describe.each(FAMILIES)("a local address over IPv%i", (family) => {
  it("is bound, late where its port is left to the kernel", () =>
    withListener(
      family,
      (socket) => socket.resume(),
      async (peer) => {
        const native = loadNative();
        const set: string[] = [];
        const setsockopt: Native["setsockopt"] = (socket, row, value) => {
          set.push(`${native.options[row]!.name} ${value[0]}`);
          return native.setsockopt(socket, row, value);
        };
        await withNative({ setsockopt }, async () => {
          const host = LOOPBACK[family];
          const late = await dial(peer, { local: { family, host, port: 0 }, guard: "detect" });
          expect(set).toEqual(["bindAddressNoPort 1"]);
          late.socket.reset();
          set.length = 0;
          const local = deadPeer(family);
          const fixed = await dial(peer, { local });
          expect(set).toEqual([]);
          expect(fixed.local).toEqual(local);
          fixed.socket.reset();
        });
      },
    ));
});
